"""Scores of methods as matrices of items x training seeds, aligned over all methods of a run."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adakd.reporting.index import Index, Method
from adakd.reporting.sections.base import Context
from adakd.stats import Array
from adakd.store.records import TaskRecord


class Matrices:
    """The matrices of one run, each made once: ``context.once(Matrices)``."""

    def __init__(self, context: Context) -> None:
        self._index = context.index
        self._layouts: dict[tuple[str, str], _Layout] = {}
        self._cubes: dict[tuple[Method, tuple[str, str], tuple[int, ...]], Array] = {}

    def triple(self, on: Method, off: Method, task: TaskRecord) -> tuple[Array, Array, Array]:
        """Return items x seeds of both methods and items x 1 of the teacher.

        Items are in the order of the data. Sampling seeds are averaged; one counts for an item if
        both methods have a score of it.
        """
        index, teacher = self._index, Method("teacher")
        a, b = (self._cube(method, task, index.seeds) for method in (on, off))
        unpaired = np.isnan(a + b)
        a, b = (np.where(unpaired, np.nan, one) for one in (a, b))
        c = self._cube(teacher, task, index.seeds_of(teacher)[:1] or [0])
        return mean_of_layers(a), mean_of_layers(b), mean_of_layers(c)

    def of(self, method: Method, task: TaskRecord) -> Array:
        """Return items x the method's own training seeds, sampling seeds averaged."""
        seeds = self._index.seeds_of(method)
        return mean_of_layers(self._cube(method, task, seeds))

    def _layout(self, task: TaskRecord) -> "_Layout":
        if task.key not in self._layouts:
            self._layouts[task.key] = _Layout(self._index, task)
        return self._layouts[task.key]

    def _cube(self, method: Method, task: TaskRecord, seeds: Sequence[int]) -> Array:
        """Return items x training seeds x sampling seeds, NaN where there is no score."""
        place = (method, task.key, tuple(seeds))
        if place in self._cubes:
            return self._cubes[place]
        layout = self._layout(task)
        cube = np.full((len(layout.items), len(seeds), max(len(layout.samplings), 1)), np.nan)
        for column, seed in enumerate(seeds):
            for record in self._index.scores.get((method, seed, task.key), ()):
                rows = layout.rows(record.ids)
                cube[rows, column, layout.samplings[record.sampling_seed]] = (
                    record.values * task.scale
                )
        self._cubes[place] = cube
        return cube


class _Layout:
    """The position of every item and sampling seed of a task."""

    def __init__(self, index: Index, task: TaskRecord) -> None:
        records = [r for (_, _, key), of in index.scores.items() if key == task.key for r in of]
        lists = dict.fromkeys(record.ids for record in records)
        ids = dict.fromkeys(item for of in lists for item in of)
        samplings = dict.fromkeys(record.sampling_seed for record in records)
        self.items = {item: position for position, item in enumerate(ids)}
        self.samplings = {seed: position for position, seed in enumerate(samplings)}
        self._rows: dict[tuple[str, ...], NDArray[np.intp]] = {}

    def rows(self, ids: tuple[str, ...]) -> NDArray[np.intp]:
        """Return the positions of some items; most records have the same."""
        if ids not in self._rows:
            self._rows[ids] = np.array([self.items[item] for item in ids], np.intp)
        return self._rows[ids]


def mean_of_layers(cube: Array) -> Array:
    """Average the last axis; NaN where nothing has a score."""
    scored = np.isfinite(cube)
    counts = scored.sum(2)
    sums = np.where(scored, cube, 0).sum(2)
    means: Array = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


def mean_of_columns(matrix: Array) -> Array:
    """Average the items of each seed; NaN where none has a score."""
    return mean_of_layers(matrix.T[:, None, :])[:, 0]
