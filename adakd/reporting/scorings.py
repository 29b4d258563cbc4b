"""The scores of a run without the texts of its answers, which may be more than fit in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from sys import intern

import numpy as np
from numpy.typing import NDArray

from adakd.planning import Cell
from adakd.stats import Array
from adakd.store.records import ScoreRecord, Sort, TaskRecord


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """A score record; its items are columns, and of its answers the numbers of words are kept."""

    key: str
    cell: Cell
    task: str
    sort: Sort
    metric: str
    title: str
    scale: float
    higher_is_better: bool
    answers: str
    sampling_seed: int | None
    value: float
    n: int
    unscored: int
    unseen: int
    seconds: float
    ids: tuple[str, ...]
    """The items, in the order of the record."""
    values: Array
    """The metric of each item, without the scale of its display; NaN where it has none."""
    words: NDArray[np.int32] | None
    """The words and the different words of each answer, 2 x answers; None without answers."""

    @property
    def task_record(self) -> TaskRecord:
        """The column of the tables that this score belongs to."""
        return TaskRecord(
            name=self.task,
            sort=self.sort,
            metric=self.metric,
            title=self.title,
            scale=self.scale,
            higher_is_better=self.higher_is_better,
        )


def scorings(records: Iterable[ScoreRecord]) -> tuple[Scoring, ...]:
    """Return the scores of some records, those without texts with the words of their answers."""
    found = tuple(_scorings(records))
    words = {one.answers: one.words for one in found if one.words is not None}
    return tuple(
        replace(one, words=words.get(one.answers)) if one.words is None else one for one in found
    )


def _scorings(records: Iterable[ScoreRecord]) -> Iterator[Scoring]:
    cells: dict[str, Cell] = {}
    items: dict[tuple[str, ...], tuple[str, ...]] = {}
    for record in records:
        answers = [item.answer.split() for item in record.items if item.answer is not None]
        counts = [[*map(len, answers)], [*map(len, map(set, answers))]]
        values = [np.nan if item.value is None else item.value for item in record.items]
        ids = tuple(item.id for item in record.items)
        yield Scoring(
            key=record.key,
            cell=cells.setdefault(record.cell.key, record.cell),
            task=intern(record.task),
            sort=record.sort,
            metric=intern(record.metric),
            title=intern(record.title),
            scale=record.scale,
            higher_is_better=record.higher_is_better,
            answers=record.key if record.answers == record.key else record.answers,
            sampling_seed=record.sampling_seed,
            value=record.value,
            n=record.n,
            unscored=record.unscored,
            unseen=record.unseen,
            seconds=record.seconds,
            ids=items.setdefault(ids, ids),
            values=np.array(values, float),
            words=np.array(counts, np.int32) if answers else None,
        )
