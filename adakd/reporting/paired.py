"""Paired differences of two methods: by item, training seed and sampling seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from adakd.planning import PLAIN
from adakd.reporting.index import Index, Method
from adakd.reporting.sections.base import Context
from adakd.stats import (
    Array,
    Conclusion,
    Difference,
    Ratio,
    conclusion,
    gap_closed,
    holm,
    pooled_difference,
)
from adakd.store.records import TaskRecord


@dataclass(frozen=True)
class PairedDifference:
    """One method minus another, on one task or pooled; numbers are in the unit of the page."""

    divergence: str
    arm: str
    task: str | None
    """None for the mean over the instruction sets."""
    unit: str
    higher_is_better: bool = True
    difference: Difference | None = None
    by_seed: tuple[float, ...] = ()
    """The difference in each training seed."""
    gap_closed: Ratio | None = None
    """Share of the plain student's gap to the teacher that the arm closes; pooled rows only."""
    adjusted_p: float | None = None
    conclusion: Conclusion | Literal["missing", "failed"] = "missing"
    note: str = ""


@dataclass(frozen=True)
class ArmDifferences:
    """Every adaptive arm minus its plain arm: pooled over the instruction sets, and by task."""

    overall: tuple[PairedDifference, ...]
    tasks: tuple[PairedDifference, ...]
    noise: float | None
    """Root mean square distance of two plain runs that differ in their training seed only."""


def arm_differences(context: Context) -> ArmDifferences:
    """Compare every adaptive arm with its plain arm.

    The pooled rows are one family for Holm's adjustment, the rows of single tasks another.
    """
    index = context.index
    sets = index.sets
    pairs = list(index.pairs())
    overall = compare(index, pairs)
    single = [_difference(index, on, off, (t,), t) for on, off in pairs for t in index.tasks]
    return ArmDifferences(overall, _concluded(single), _noise(index, sets))


def compare(
    index: Index, pairs: Sequence[tuple[Method, Method]], sets: Sequence[TaskRecord] | None = None
) -> tuple[PairedDifference, ...]:
    """Compare each first method of `pairs` with the second, pooled over instruction sets.

    The rows are one family for Holm's adjustment. The default is all sets, by the first metric.
    """
    sets = index.sets if sets is None else sets
    return _concluded([_difference(index, on, off, sets, None) for on, off in pairs if sets])


def _difference(
    index: Index, on: Method, off: Method, tasks: Sequence[TaskRecord], task: TaskRecord | None
) -> PairedDifference:
    """Compare two methods on some tasks; `task` is None where these are pooled."""
    row = PairedDifference(
        divergence=str(on.divergence),
        arm=on.arm,
        task=task.name if task else None,
        unit=tasks[0].unit,
        higher_is_better=tasks[0].higher_is_better,
    )
    triples = [(t.name, _triple(index, on, off, t)) for t in tasks]
    scored = [(n, (a, b, c)) for n, (a, b, c) in triples if np.isfinite(a - b).any()]
    if not scored:
        return _absent(index, row, on, off, task)
    matrices = [three for _, three in scored]
    try:
        difference = pooled_difference([(a, b) for a, b, _ in matrices])
    except ValueError:
        return replace(row, note="the sets have no training seed in common")
    if all(task.scale == 100 for task in tasks):
        difference = _within(difference, 100.0)
    if difference.low == difference.high == 0:
        difference = replace(difference, minimum_effect=float("inf"))
    lacking = sorted({n for n, _ in triples} - {n for n, _ in scored})
    by_seed = np.mean([_mean_of_columns(a - b) for a, b, _ in matrices], axis=0)
    has_teacher = all(np.isfinite(sum(three)).any() for three in matrices)
    return replace(
        row,
        difference=difference,
        by_seed=tuple(float(value) for value in by_seed if np.isfinite(value)),
        gap_closed=gap_closed(matrices) if task is None and has_teacher else None,
        note="; ".join(_notes(index, difference, lacking)),
    )


def _within(difference: Difference, most: float) -> Difference:
    """Clip an interval to the range of a difference of shares; two seeds alone may exceed it."""
    effect = difference.minimum_effect
    return replace(
        difference,
        low=float(np.maximum(difference.low, -most)),
        high=float(np.minimum(difference.high, most)),
        minimum_effect=effect if effect <= most else float("inf"),
    )


def _notes(index: Index, difference: Difference, lacking: Sequence[str]) -> Iterator[str]:
    if difference.low == difference.high == 0:
        yield "both arms have the same score on every item"
    if lacking:
        yield f"without {', '.join(lacking)} (not scored in both arms)"
    if difference.n_seeds < len(index.seeds):
        yield f"{difference.n_seeds} of {len(index.seeds)} training seeds"


def _absent(
    index: Index, row: PairedDifference, on: Method, off: Method, task: TaskRecord | None
) -> PairedDifference:
    """Return the row of two methods that share no scored item, with the reason."""
    for method in (on, off):
        for seed in index.seeds:
            if reason := index.failure(method, seed):
                return replace(row, conclusion="failed", note=f"{method}, seed {seed}: {reason}")
    scored = [
        method
        for method in (on, off)
        if task and any((method, seed, task.key) in index.scores for seed in index.seeds)
    ]
    if len(scored) == 2:
        return replace(row, note="the task gives no value for single items: nothing to pair")
    return replace(row, note="not scored in both arms")


def _concluded(rows: Sequence[PairedDifference]) -> tuple[PairedDifference, ...]:
    """Adjust the p-values of a family of rows and set the conclusion of each row."""
    adjusted = iter(holm([row.difference.p_value for row in rows if row.difference]))
    concluded = []
    for row in rows:
        if row.difference:
            p = next(adjusted)
            row = replace(
                row,
                adjusted_p=p,
                conclusion=conclusion(row.difference, p, row.higher_is_better),
            )
        concluded.append(row)
    return tuple(concluded)


# --- matrices -------------------------------------------------------------------------------


def _triple(index: Index, on: Method, off: Method, task: TaskRecord) -> tuple[Array, Array, Array]:
    """Return items x seeds of both methods and items x 1 of the teacher.

    Sampling seeds are averaged; one counts for an item if both methods have a score of it.
    """
    teacher = Method("teacher")
    items = _items(index, (on, off), task)
    samplings = _samplings(index, (on, off), task)
    a, b = (_cube(index, method, task, index.seeds, items, samplings) for method in (on, off))
    unpaired = np.isnan(a + b)
    a[unpaired], b[unpaired] = np.nan, np.nan
    its_seeds = [seed for method, seed in index.expected if method == teacher][:1]
    c = _cube(index, teacher, task, its_seeds or [0], items, samplings)
    return _mean(a), _mean(b), _mean(c)


def _items(index: Index, methods: Sequence[Method], task: TaskRecord) -> dict[str, int]:
    """Return the position of every item, in the order of the data."""
    ids = [
        item.id
        for method in methods
        for seed in index.seeds
        for record in index.scores.get((method, seed, task.key), ())
        for item in record.items
    ]
    return {item: position for position, item in enumerate(dict.fromkeys(ids))}


def _samplings(index: Index, methods: Sequence[Method], task: TaskRecord) -> dict[int | None, int]:
    seeds = [
        record.sampling_seed
        for method in methods
        for seed in index.seeds
        for record in index.scores.get((method, seed, task.key), ())
    ]
    return {seed: position for position, seed in enumerate(dict.fromkeys(seeds))}


def _cube(
    index: Index,
    method: Method,
    task: TaskRecord,
    seeds: Sequence[int],
    items: dict[str, int],
    samplings: dict[int | None, int],
) -> Array:
    """Return items x training seeds x sampling seeds, NaN where there is no score."""
    cube = np.full((len(items), len(seeds), max(len(samplings), 1)), np.nan)
    for column, seed in enumerate(seeds):
        for record in index.scores.get((method, seed, task.key), ()):
            layer = samplings.get(record.sampling_seed)
            for item in record.items if layer is not None else ():
                if item.value is not None and item.id in items:
                    cube[items[item.id], column, layer] = item.value * task.scale
    return cube


def _mean(cube: Array) -> Array:
    """Average the sampling seeds; NaN where none has a score."""
    scored = np.isfinite(cube)
    counts = scored.sum(2)
    sums = np.where(scored, cube, 0).sum(2)
    means: Array = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


def _mean_of_columns(matrix: Array) -> Array:
    return _mean(matrix.T[:, None, :])[:, 0]


def _noise(index: Index, sets: Sequence[TaskRecord]) -> float | None:
    """Return the typical distance of plain runs of two training seeds, in the pooled metric."""
    variances = []
    for divergence in dict.fromkeys(on.divergence for on, _ in index.pairs()):
        plain = Method("distilled", divergence, PLAIN)
        by_set = [_mean_of_columns(_triple(index, plain, plain, task)[0]) for task in sets]
        values = np.mean(by_set, axis=0) if by_set else np.array([])
        values = values[np.isfinite(values)]
        if len(values) > 1:
            variances.append(values.var(ddof=1))
    return float(np.sqrt(2 * np.mean(variances))) if variances else None
