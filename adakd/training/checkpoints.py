"""What an objective learns and remembers, for the optimizer and in checkpoints."""

import os
import shutil
from pathlib import Path

import torch
from torch.nn import Parameter

from adakd.losses.objective import TokenObjective

COMPLETE = "objective.pt"
"""Written last into a checkpoint, in one go: the objective's state, the sign that all is there."""


def learned_parameters(objective: TokenObjective, device: torch.device) -> list[Parameter]:
    """Return what an objective learns, moved to a device."""
    learned = list(objective.parameters())
    for parameter in learned:
        parameter.data = parameter.data.to(device)
    return learned


def save_state(objective: TokenObjective, checkpoint: Path) -> None:
    """Complete a checkpoint by the state of the objective."""
    part = checkpoint / f"{COMPLETE}.part"
    torch.save(objective.state_dict(), part)
    os.replace(part, checkpoint / COMPLETE)


def load_state(objective: TokenObjective, checkpoint: Path) -> None:
    """Let an objective go on from a checkpoint."""
    objective.load_state_dict(torch.load(checkpoint / COMPLETE, weights_only=True))


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint; incomplete ones are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda f: int(f.name.rpartition("-")[2]))
    for checkpoint in reversed(found):
        if (checkpoint / COMPLETE).exists():
            return checkpoint
        shutil.rmtree(checkpoint)
    return None
