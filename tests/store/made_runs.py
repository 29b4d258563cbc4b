"""Runs without trainings: a record for every cell and scoring of a plan, with made-up values."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from made_records import score, step, training

from adakd.config import Suite
from adakd.planning import Cell, plan
from adakd.store import Store
from adakd.store.provenance import run_record

Value = Callable[[Cell, int], float]
"""The value of an item of a cell, by the item's number."""


def share(cell: Cell, item: int) -> float:
    """Return a value between 0 and 1 that cell and item decide."""
    return int(f"{cell.key[:6]}", 16) % (97 + item) / (97 + item)


def made_run(
    folder: Path,
    suite: Suite,
    value: Value = share,
    hardware: Mapping[str, str] | None = None,
    items: int = 6,
    **of_trainings: Any,
) -> Store:
    """Write the records of a finished run of a suite, and a file for each model."""
    store, planned = Store(folder), plan(suite)
    start = run_record(planned)
    own = {"key": f"start of {folder.name}", "hardware": dict(hardware or start.hardware)}
    store.add(start.model_copy(update=own))
    for assignment in planned.assignments:
        cell, files = assignment.cell, {}
        if assignment.training is not None:
            files = {"model.safetensors": cell.key}
            model = folder / "cells" / cell.key / "model"
            model.mkdir(parents=True)
            (model / "model.safetensors").write_text(cell.key)
        one = step(1, learning_rate=0.1, seconds={"loss": 0.1})
        made = training(cell, [one], files=files)
        store.add(made.model_copy(update=of_trainings))
        for job in planned.jobs_of(cell):
            values = [value(cell, number) for number in range(items)]
            store.add(score(job, values, lambda number: f"says {number}", seconds=0.5))
    return store
