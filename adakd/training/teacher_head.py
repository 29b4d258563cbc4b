"""The teacher's LM head on disk: with the stored hidden states it replaces the teacher.

Without it, every start and every worker would load a teacher of billions of parameters for one of
its layers.
"""

import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from adakd.losses.blocks import LogitScaling
from adakd.losses.lm_head import LMHead
from adakd.store.disk import sync, writing


@dataclass(frozen=True)
class StoredHead:
    """An LM head in a file, with the folder of the hidden states that it belongs to."""

    head: LMHead
    states: str
    """The folder's name, which has the hash of the teacher's weights."""


def store_head(file: Path, head: LMHead, states: str) -> None:
    """Write a head in one step, in the precision that it has.

    Raises:
        AdakdError: the disk is full.
    """
    tensors = {"weight": head.weight.detach().contiguous()}
    if head.bias is not None:
        tensors["bias"] = head.bias.detach().contiguous()
    about = {"states": states, "scaling": asdict(head.scaling), "checksum": _checksum(tensors)}
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with writing(file, file.parent):
        try:
            save_file(tensors, draft, {"adakd": json.dumps(about)})
            sync(draft)
            os.replace(draft, file)
        finally:
            draft.unlink(missing_ok=True)


def stored_head(file: Path) -> StoredHead | None:
    """Return the head in a file; None where there is none, or it is damaged."""
    try:
        with safe_open(file, "pt") as stream:
            about = json.loads(stream.metadata()["adakd"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        if about["checksum"] != _checksum(tensors):
            return None
        scaling = LogitScaling(**about["scaling"])
        head = LMHead(tensors["weight"], tensors.get("bias"), scaling)
        return StoredHead(head, str(about["states"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _checksum(tensors: dict[str, Tensor]) -> int:
    found = 0
    for name in sorted(tensors):
        content = tensors[name].flatten().view(-1).numpy().data
        found = zlib.crc32(content, found)
    return found
