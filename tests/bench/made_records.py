"""Records of trainings and scorings that never took place, with values that a test makes up."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from adakd.planning import Cell, Job
from adakd.store.records import Item, ScoreRecord, TrainingRecord
from adakd.store.steps import Step, Steps

PHASES = ("student", "loss", "backward", "optimizer")


def step(number: int, loss: float = 1.0, **more: Any) -> Step:
    """Return a step; `more` are further fields of it."""
    fields = {
        "learning_rate": 1e-4,
        "grad_norm": 1.0,
        "kept_ratio": 1.0,
        "temperature": 1.0,
        "seconds": dict.fromkeys(PHASES, 0.1),
    }
    return Step.model_validate({"step": number, "loss": loss} | fields | more)


def training(cell: Cell, steps: Iterable[Step], **more: Any) -> TrainingRecord:
    """Return a finished training; `more` are further fields of it."""
    columns = Steps.model_validate(tuple(steps))
    fields = {"key": cell.key, "cell": cell, "status": "done", "steps": columns, "seconds": 1.0}
    return TrainingRecord.model_validate(fields | more)


def score(
    job: Job, values: Sequence[float], answer: Callable[[int], str], seconds: float = 1.0
) -> ScoreRecord:
    """Return a score: of an instruction set in ROUGE-L with answers, of all else the accuracy.

    Args:
        job: the scoring.
        values: the metric of each item.
        answer: returns the answer to an item, by its number.
        seconds: that it took.
    """
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
        value=sum(values) / len(values),
        n=len(values),
        seconds=seconds,
        items=tuple(
            Item(id=str(number), value=value, answer=answer(number) if is_set else None)
            for number, value in enumerate(values)
        ),
    )
