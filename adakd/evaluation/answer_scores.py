"""Generated answers -> the score of a metric, whether they were made just now or are stored."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from adakd.config import Suite
from adakd.data import read_rows
from adakd.errors import AdakdError
from adakd.metrics import metric
from adakd.planning import Job
from adakd.store.records import Item, ScoreRecord


def answer_score(
    job: Job, items: tuple[Item, ...], references: Iterable[Sequence[str]], seconds: float
) -> ScoreRecord:
    """Return the score of one metric: the mean over the items that have a value."""
    assert job.metric is not None
    values = [item.value for item in items if item.value is not None]
    return ScoreRecord(
        key=job.key,
        cell=job.cell,
        task=job.task,
        sort="answers",
        metric=job.metric,
        **asdict(metric.display(job.metric)),
        answers=job.answers,
        sampling_seed=job.sampling_seed,
        value=sum(values) / len(values) if values else math.nan,  # as lm-eval's mean, to the bit
        n=len(items),
        unscored=len(items) - len(values),
        unseen=metric.unseen(job.metric, references),
        seconds=seconds,
        items=items,
    )


def stored_answer_scores(
    jobs: Sequence[Job], stored: ScoreRecord, suite: Suite
) -> Iterator[ScoreRecord]:
    """Yield the scores of further metrics of answers whose texts are stored.

    Args:
        jobs: their answers are those of `stored`.
        stored: holds the texts.
        suite: has the metrics and the references.

    Raises:
        AdakdError: an item is not in the data any more.
    """
    source = suite.evaluation.sets[stored.task]
    references = {row.id: row.references for row in read_rows(source, suite)}
    if gone := [item.id for item in stored.items if item.id not in references]:
        raise AdakdError(
            f"evaluation.sets.{stored.task}: item {gone[0]!r} is not in the data any more: score "
            "with the data of the run, or choose another --out folder"
        )
    for job in jobs:
        start = time.perf_counter()
        value = metric.build(suite.evaluation.metric(str(job.metric)))
        items = tuple(
            Item(id=item.id, value=_number(value(item.answer or "", references[item.id])))
            for item in stored.items
        )
        known = [references[item.id] for item in items]
        yield answer_score(job, items, known, time.perf_counter() - start)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
