"""The objective's parameters in the optimizer, and its state in checkpoints."""

import os
import shutil
from pathlib import Path

import torch
from torch.nn import Parameter

from adakd.losses.objective import TokenObjective

COMPLETE = "objective.pt"
"""The objective's state; written last and atomically, so that it marks a complete checkpoint."""


def learned_parameters(objective: TokenObjective, device: torch.device) -> list[Parameter]:
    """Return the parameters of an objective, moved to a device."""
    learned = list(objective.parameters())
    for parameter in learned:
        parameter.data = parameter.data.to(device)
    return learned


def save_state(objective: TokenObjective, checkpoint: Path) -> None:
    """Write the state of the objective, which completes a checkpoint."""
    part = checkpoint / f"{COMPLETE}.part"
    torch.save(objective.state_dict(), part)
    os.replace(part, checkpoint / COMPLETE)


def load_state(objective: TokenObjective, checkpoint: Path) -> None:
    """Restore the state of an objective from a checkpoint."""
    objective.load_state_dict(torch.load(checkpoint / COMPLETE, weights_only=True))


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint; remove newer incomplete ones."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda f: int(f.name.rpartition("-")[2]))
    for checkpoint in reversed(found):
        if (checkpoint / COMPLETE).exists():
            return checkpoint
        shutil.rmtree(checkpoint)
    return None
