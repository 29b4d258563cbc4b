"""Paired differences of two methods: by item, training seed and sampling seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from adakd.planning import PLAIN
from adakd.reporting.index import Index, Method
from adakd.reporting.matrices import Matrices, mean_of_columns
from adakd.reporting.sections.base import Context
from adakd.stats import (
    Array,
    Conclusion,
    Difference,
    Ratio,
    SeedNoise,
    allow_for_unseen,
    distances,
    gap_closed,
    item_pulls,
    pooled_difference,
    seed_noise,
)
from adakd.store.records import TaskRecord

Column = tuple[str, str]
"""Task and metric."""


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
    """Adjusted for the comparisons of its family."""
    conclusion: Conclusion | Literal["missing", "failed"] = "missing"
    band: float | None = None
    """How far chance in training takes such a difference in 95 of 100 runs; pooled rows only."""
    note: str = ""


@dataclass(frozen=True)
class Paired:
    """A paired difference without a conclusion, and what decides its correlation with others."""

    on: Method
    off: Method
    row: PairedDifference
    pulls: Mapping[Column, Array] = field(default_factory=dict)
    """How far each item pulls the estimate, by the columns that it is the mean of."""

    @property
    def identity(self) -> tuple[Method, Method, frozenset[Column]]:
        """Methods and columns: the same comparison, wherever the page shows it."""
        return self.on, self.off, frozenset(self.pulls)


def paired(
    context: Context,
    on: Method,
    off: Method,
    tasks: Sequence[TaskRecord],
    task: TaskRecord | None = None,
) -> Paired:
    """Compare two methods on some tasks; `task` is None where these are pooled.

    The minimum effect is left open: it depends on the family of the comparison.
    """
    index, matrices = context.index, context.once(Matrices)
    row = PairedDifference(
        divergence=str(on.divergence),
        arm=on.arm,
        task=task.name if task else None,
        unit=tasks[0].unit,
        higher_is_better=tasks[0].higher_is_better,
    )
    triples = [(t, matrices.triple(on, off, t)) for t in tasks]
    scored = [(t, (a, b, c)) for t, (a, b, c) in triples if np.isfinite(a - b).any()]
    if not scored:
        return Paired(on, off, _absent(index, row, on, off, task))
    pairs = [(a, b) for _, (a, b, _) in scored]
    try:
        difference = pooled(pairs, tasks, detects=False)
    except ValueError:
        return Paired(on, off, replace(row, note="the sets have no training seed in common"))
    lacking = [t.name for t, (a, b, _) in triples if not np.isfinite(a - b).any()]
    by_seed = np.mean([mean_of_columns(a - b) for a, b in pairs], axis=0)
    has_teacher = all(np.isfinite(sum(three)).any() for _, three in scored)
    closed = gap_closed([three for _, three in scored]) if task is None and has_teacher else None
    found = replace(
        row,
        difference=difference,
        by_seed=tuple(float(value) for value in by_seed if np.isfinite(value)),
        gap_closed=closed,
        note="; ".join(_notes(index, difference, sorted(lacking))),
    )
    pulls = zip(scored, item_pulls(pairs), strict=True)
    return Paired(on, off, found, {t.key: of_items for (t, _), of_items in pulls})


def pooled(
    pairs: Sequence[tuple[Array, Array]], tasks: Sequence[TaskRecord], detects: bool = True
) -> Difference:
    """Return the mean difference over tasks, its interval within the range of the metric.

    Args:
        pairs: the scores of both sides on each task, items x seeds.
        tasks: the same tasks.
        detects: whether the minimum effect is wanted.

    Raises:
        ValueError: no item is scored on both sides for the same seed.
    """
    most = 100.0 if all(task.scale == 100 for task in tasks) else float("inf")
    return _within(allow_for_unseen(pooled_difference(pairs, detects), most), most)


def _within(difference: Difference, most: float) -> Difference:
    """Clip an interval to the range of a difference of shares; two seeds alone may exceed it."""
    return replace(
        difference,
        low=float(np.maximum(difference.low, -most)),
        high=float(np.minimum(difference.high, most)),
    )


def _notes(index: Index, difference: Difference, lacking: Sequence[str]) -> Iterator[str]:
    if difference.law.is_degenerate and difference.n_items > 1:
        same = "the same score" if difference.estimate == 0 else "the same difference"
        yield f"both arms have {same} on every item: the interval allows for items not seen"
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


def noise(context: Context) -> SeedNoise | None:
    """Return the distance of plain runs of two training seeds, in the pooled metric."""
    index, matrices = context.index, context.once(Matrices)
    methods = []
    for divergence in dict.fromkeys(on.divergence for on, _ in index.pairs()):
        plain = Method("distilled", divergence, PLAIN)
        by_set = [mean_of_columns(matrices.triple(plain, plain, task)[0]) for task in index.sets]
        values = dict(zip(index.seeds, np.mean(by_set, axis=0), strict=True)) if by_set else {}
        methods.append(distances({seed: of for seed, of in values.items() if np.isfinite(of)}))
    return seed_noise(methods)
