"""Base models that are read from their source once a machine: GGUF files, and adapters merged.

Both take long to read: names and tensors of a GGUF file are parsed one by one. The result is kept
as safetensors beside its tokenizer in the user's cache folder, under a hash of the source's content
and of the libraries that read it, and is mapped into memory from there. Folders of safetensors are
read in place.
"""

import json
import logging
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils.hub import cached_file

from adakd.config import Pretrained
from adakd.config.hashing import (
    content_digest,
    digest,
    file_digest,
    files_below,
    files_digest,
    user_cache,
)
from adakd.errors import AdakdError, one_line
from adakd.planning.keys import adapted, model_digest
from adakd.store.disk import RESERVE, share_tree, sync, sync_tree, write_atomically

Convert = Callable[[], tuple[PreTrainedModel, Any]]
"""Reads a model, in float32 on the CPU, and its tokenizer from their source."""
_FILES = "files.json"
"""The hashes of the files of an entry; it is written last."""
_READERS = ("transformers", "tokenizers", "gguf", "peft")
"""Libraries that decide what a source is read as."""
_log = logging.getLogger(__name__)
_declined: set[Path] = set()
"""Entries that this process could not make: it reads their sources."""


def converted(base: Pretrained, convert: Convert) -> Path | None:
    """Return the folder of a converted base model, which is made if there is none.

    Two processes make an entry once: the second waits for the first. A damaged entry is made again.

    Args:
        base: the model.
        convert: reads it from its source.

    Returns:
        None for a model that is read from its source each time: a folder of safetensors, adapters
        on a model of the hub, or one that cannot be kept, which a log line tells.
    """
    identity = _identity(base)
    if identity is None:
        return None
    entry = user_cache("models") / digest(identity, [(name, version(name)) for name in _READERS])
    if not _damage(entry):
        return entry
    if entry in _declined:
        return None
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(entry.with_suffix(".lock")):
            _make(entry, base, convert)
        return entry
    except AdakdError:  # loading it says so
        pass
    except Exception as error:  # disks, and settings of a model that transformers will not save
        _log.warning(
            "model %r is not kept in %s, so every run converts it again: %s",
            base.model, entry.parent, one_line(error),
        )  # fmt: skip
    _declined.add(entry)
    return None


def _identity(base: Pretrained) -> Any:
    """Return what decides a model's content; None if it is not converted, or its base may change.

    The hub's files are those of a commit. Adapters on adapters are not kept.
    """
    folder = Path(base.model)
    if base.gguf_file is None:
        below = adapted(folder)
        is_whole = below is not None and not (below / "adapter_config.json").exists()
        return model_digest(base) if is_whole else None
    if folder.is_dir():
        return model_digest(base)
    try:
        found = cached_file(base.model, base.gguf_file, revision=base.revision)
    except (OSError, ValueError):
        return None
    file = Path(str(found))
    commit = file.parents[len(Path(base.gguf_file).parts) - 1].name
    return base.model, commit, base.gguf_file, file_digest(file)


def _make(entry: Path, base: Pretrained, convert: Convert) -> None:
    """Make an entry whole, while its lock is held, unless another process just did."""
    reason = _damage(entry)
    if not reason:
        return
    if entry.exists():
        _log.warning("%s: %s: dropped, and converted again from %r", entry, reason, base.model)
        shutil.rmtree(entry)
    draft = entry.with_name(f".{entry.name}")
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
    if base.gguf_file is not None and (file := Path(base.model, base.gguf_file)).is_file():
        _check_room(entry.parent, file.stat().st_size)  # converted, it has no fewer bytes
    model, tokenizer = convert()
    size = sum(weight.nbytes for weight in model.parameters())
    _check_room(entry.parent, size)
    try:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        _check_same(model, tokenizer, draft)
        share_tree(draft)
        hashes = {
            file.relative_to(draft).as_posix(): content_digest(file) for file in files_below(draft)
        }
        write_atomically(draft / _FILES, json.dumps(hashes))
        sync_tree(draft)
        draft.rename(entry)
        sync(entry.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _log.warning(
        "model %r is converted, and kept for later runs in %s (%s MB)",
        base.model, entry, f"{size / 1e6:,.0f}",
    )  # fmt: skip


def _check_room(folder: Path, size: int) -> None:
    """Check that `size` more bytes fit into a folder, with some left for runs.

    Raises:
        OSError: they do not.
    """
    free = shutil.disk_usage(folder).free
    if size + RESERVE > free:
        raise OSError(
            f"it takes {size:,} bytes, and {free:,} are free, {RESERVE:,} of them for runs"
        )


def _check_same(model: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    """Check that a saved model and tokenizer are read back bit for bit.

    Raises:
        ValueError: a weight, a buffer or the tokenizer is not the same.
    """
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ours, theirs = _tensors(model), _tensors(again)
    odd = [name for name in {**ours, **theirs} if not _equal(ours.get(name), theirs.get(name))]
    reread = AutoTokenizer.from_pretrained(folder)
    if _described(tokenizer) != _described(reread):
        odd.append("its tokenizer")
    if odd:
        raise ValueError(f"saved and read again, it differs in {odd[0]}")


def _tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    named = (model.named_parameters, model.named_buffers)
    return {name: one for each in named for name, one in each(remove_duplicate=False)}


def _equal(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)


def _described(tokenizer: Any) -> Any:
    """Return all of a tokenizer that decides token ids and prompts."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = tokenizer.get_vocab() if backend is None else backend.to_str()
    return rules, tokenizer.special_tokens_map, tokenizer.padding_side, tokenizer.chat_template


def _damage(entry: Path) -> str:
    """Return why an entry cannot be used; empty if its files are as they were written."""
    try:
        known = json.loads((entry / _FILES).read_text(encoding="utf-8"))
        files = [file for file in files_below(entry) if file.name != _FILES]
        found = dict(files_digest(files, entry))
    except (OSError, ValueError, AdakdError) as error:
        return one_line(error)
    return "" if found == known else "its files are not as they were written"
