"""A tokenizer, models of a few thousand weights and their data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adakd.config import Suite
from adakd.data.generated import generate
from adakd.planning import Cell, plan
from adakd.training.models import train_tokenizer
from adakd.training.workshop import Workshop


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return train_tokenizer([" ".join(row[1:3]) for row in generate(60, "train")], 400)


@pytest.fixture
def workshop(tmp_path: Path) -> Callable[..., Workshop]:
    """Open a workshop on a suite: a fresh one each time, as after a restart."""

    def make(suite: Suite, name: str = "run") -> Workshop:
        return Workshop(plan(suite), tmp_path / name)

    return make


def _of(workshop: Workshop, role: str = "distilled", arm: str = "none") -> Cell:
    cells = (cell for cell in workshop.plan.cells if (cell.role, cell.arm) == (role, arm))
    return next(cells)


@pytest.fixture(scope="session")
def of() -> Callable[..., Cell]:
    """Find a cell of a workshop."""
    return _of
