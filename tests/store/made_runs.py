"""Runs without trainings: a record for every cell and scoring of a plan, with made-up values."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adakd.config import Suite
from adakd.planning import Cell, Job, plan
from adakd.store import Store
from adakd.store.provenance import run_record
from adakd.store.records import Item, ScoreRecord, TrainingRecord
from adakd.store.steps import Step

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
        step = Step(
            step=1, loss=1.0, learning_rate=0.1, grad_norm=1.0, kept_ratio=1, temperature=1,
            seconds={"loss": 0.1},
        )  # fmt: skip
        made = TrainingRecord(
            key=cell.key, cell=cell, status="done", steps=(step,), seconds=1.0, files=files
        )
        store.add(made.model_copy(update=of_trainings))
        store.add(*(_score(job, value, items) for job in planned.jobs if job.cell == cell))
    return store


def _score(job: Job, value: Value, items: int) -> ScoreRecord:
    values = [value(job.cell, number) for number in range(items)]
    is_set = job.metric == "rouge_l"
    return ScoreRecord(
        key=job.key,
        cell=job.cell,
        task=job.task,
        sort="answers" if is_set else "choice",
        metric=job.metric or "acc",
        title="ROUGE-L" if is_set else "accuracy",
        scale=100.0,
        answers=job.answers,
        sampling_seed=job.sampling_seed,
        value=sum(values) / items,
        n=items,
        seconds=0.5,
        items=tuple(
            Item(id=str(n), value=v, answer=f"says {n}" if is_set else None)
            for n, v in enumerate(values)
        ),
    )
