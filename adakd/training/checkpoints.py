"""The objective's parameters in the optimizer, its state in checkpoints, and their integrity."""

import json
import os
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import Parameter

from adakd.errors import one_line
from adakd.losses.objective import TokenObjective
from adakd.store.disk import sync, sync_tree

STATE = "objective.pt"
"""The objective's state."""
COMPLETE = "complete.json"
"""Size and checksum of every other file; written last and atomically, when those are on the disk,
so that it marks a complete checkpoint."""
_NAME = re.compile(r"checkpoint-(\d+)")
_BLOCK = 1 << 22


def learned_parameters(objective: TokenObjective, device: torch.device) -> list[Parameter]:
    """Return the parameters of an objective, moved to a device."""
    learned = list(objective.parameters())
    for parameter in learned:
        parameter.data = parameter.data.to(device)
    return learned


def save_state(objective: TokenObjective, checkpoint: Path) -> None:
    """Write the state of the objective, which completes a checkpoint."""
    torch.save(objective.state_dict(), checkpoint / STATE)
    complete(checkpoint)


def load_state(objective: TokenObjective, checkpoint: Path) -> None:
    """Restore the state of an objective from a checkpoint."""
    objective.load_state_dict(torch.load(checkpoint / STATE, map_location="cpu", weights_only=True))


def complete(checkpoint: Path) -> None:
    """Mark a checkpoint as complete, once it is on the disk."""
    sync_tree(checkpoint)
    files = {str(f.relative_to(checkpoint)): _summary(f) for f in _files(checkpoint)}
    part = checkpoint / f"{COMPLETE}.part"
    part.write_text(json.dumps(files, indent=1))
    sync(part)
    os.replace(part, checkpoint / COMPLETE)
    sync(checkpoint)
    sync(checkpoint.parent)


def newest_checkpoint(folder: Path, note: Callable[[str], None] = lambda _: None) -> Path | None:
    """Return the newest complete checkpoint; remove newer ones.

    Args:
        folder: that of the checkpoints of a training.
        note: called with a line for each complete checkpoint that cannot be read.
    """
    found = [(int(m[1]), f) for f in folder.glob("*") if (m := _NAME.fullmatch(f.name))]
    for _, checkpoint in sorted(found, reverse=True):
        if not (checkpoint / COMPLETE).exists():
            shutil.rmtree(checkpoint, ignore_errors=True)  # killed while it was written
        elif damage := _damage(checkpoint):
            drop(checkpoint, damage, note)
        else:
            return checkpoint
    return None


def drop(checkpoint: Path, damage: str, note: Callable[[str], None]) -> None:
    """Remove a checkpoint that cannot be read, and say so."""
    shutil.rmtree(checkpoint, ignore_errors=True)
    note(f"{checkpoint}: {damage}; removed, the training goes on from an earlier step")


def _damage(checkpoint: Path) -> str:
    """Return why a complete checkpoint cannot be read; empty if it can."""
    try:
        files = json.loads((checkpoint / COMPLETE).read_text())
        for name, summary in files.items():
            if _summary(checkpoint / name) != summary:
                return f"{name} is damaged"
        return "" if STATE in files else f"{COMPLETE} is damaged"
    except (OSError, ValueError, AttributeError) as error:
        return one_line(error)


def _files(checkpoint: Path) -> list[Path]:
    return sorted(f for f in checkpoint.rglob("*") if f.is_file() and f.name != COMPLETE)


def _summary(file: Path) -> list[int]:
    """Return size and CRC-32 of a file."""
    checksum = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return [file.stat().st_size, checksum]
