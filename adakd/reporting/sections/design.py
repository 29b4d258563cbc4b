"""What the design can find: the detectable difference by training seeds, and what seeds cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

from adakd.reporting.families import arm_differences
from adakd.reporting.formatting import counted, number
from adakd.reporting.index import SEEDED, Index
from adakd.reporting.paired import PairedDifference
from adakd.reporting.sections.base import Context
from adakd.stats import SEEDS, Spread, effective_items, spread_of


@dataclass(frozen=True)
class Findable:
    """What so many training seeds can find, and what they cost."""

    seeds: int
    alone: float | None
    """Smallest true difference that four of five such runs would find, compared alone; None where
    the spread of trainings is not known, infinite where the metric has no such difference."""
    in_family: float | None
    """The same among all comparisons of the question."""
    trainings: int
    seconds: float | None
    """Of training and scoring, as the run took; None where nothing was run."""


@dataclass(frozen=True)
class Design:
    """The spread of paired differences, and what it means for numbers of training seeds."""

    unit: str
    spread: Spread
    items: tuple[int, ...]
    """Of each instruction set."""
    comparisons: int
    """Of the suite's question."""
    rows: tuple[Findable, ...]

    @property
    def sentence(self) -> str:
        """What the figures are made of."""
        spread, sets = self.spread, counted(len(self.items), "set")
        trainings = "not known from one" if spread.seeds is None else number(spread.seeds)
        if spread.seeds == 0:
            trainings = "none beyond that noise"
        return (
            f"Standard deviations of a paired difference, in {self.unit}: between items "
            f"{number(spread.items)}, of an item between trainings {number(spread.noise)}, of the "
            f"mean between trainings {trainings}; {counted(sum(self.items), 'item')} in {sets}."
        )


@dataclass(frozen=True)
class Cost:
    """What a training seed costs."""

    trainings: int
    seconds: float | None = None


def design(context: Context) -> Design | None:
    """Return what the run's design can find; None where nothing is compared."""
    index, found = context.index, context.once(arm_differences)
    items = items_of(index)
    rows = [row for row in found.overall if row.difference and not row.difference.law.is_degenerate]
    if not rows or not items:
        return None
    return design_of(
        run_spread(rows, items),
        items,
        comparisons=max(1, found.families[0].size),
        cost=run_cost(index),
        unit=rows[0].unit,
        present=len(index.seeds),
    )


def design_of(
    spread: Spread,
    items: Sequence[int],
    comparisons: int,
    cost: Cost,
    unit: str,
    present: int | None = None,
) -> Design:
    """Return what numbers of training seeds find and cost, those that a run has among them."""
    n = effective_items(items)
    most = 100.0 if unit.endswith("× 100") else inf

    def find(seeds: int, count: int) -> float:
        size = spread.detectable(n, seeds, count)
        return size if size <= most else inf

    def row(seeds: int) -> Findable:
        known = seeds == 1 or spread.seeds is not None
        alone, family = (find(seeds, count) if known else None for count in (1, comparisons))
        seconds = None if cost.seconds is None else seeds * cost.seconds
        return Findable(seeds, alone, family, seeds * cost.trainings, seconds)

    counts = sorted({*SEEDS, *((present,) if present else ())})
    return Design(unit, spread, tuple(items), comparisons, tuple(map(row, counts)))


def items_of(index: Index) -> tuple[int, ...]:
    """Return how many items of each instruction set the compared arms have a score of."""
    arms = {method for pair in index.pairs() for method in pair}
    counts: dict[tuple[str, str], int] = {task.key: 0 for task in index.sets}
    for (method, _, column), records in index.scores.items():
        if method in arms and column in counts:
            counts[column] = max(counts[column], *(record.n for record in records))
    return tuple(count for count in counts.values() if count)


def run_spread(rows: Sequence[PairedDifference], items: Sequence[int]) -> Spread:
    """Return the spread behind the differences of a run."""
    n = effective_items(items)
    laws = [(row.difference.law, n, row.difference.n_seeds) for row in rows if row.difference]
    return spread_of([one for one in laws if isfinite(one[0].items)])


def run_cost(index: Index) -> Cost:
    """Return the trainings of a seed, and the seconds that these and their scores took."""
    methods = {method for method, _ in index.expected if method.role in SEEDED}
    trained = [record.seconds for record in index.trainings.values()]
    scored = [
        record.seconds
        for (method, _, _), records in index.scores.items()
        for record in records
        if method.role in SEEDED
    ]
    return Cost(len(methods), (sum(trained) + sum(scored)) / len(index.seeds) if trained else None)
