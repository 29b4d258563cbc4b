"""Crossed bootstrap: items and training seeds are resampled independently of each other.

A statistic is a function of weights: a resampled item or seed counts as often as it was drawn,
with all its observations together. Anything computed from weighted observations, a mean or a
refitted model, thus gets the same kind of interval.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Statistic = Callable[[Array], Array]
"""Maps weights, replicates x observations, to one value per replicate; NaN where undefined."""

LEVEL = 0.05
"""Significance level: intervals cover 1 - LEVEL, conclusions use adjusted p-values."""
REPLICATES = 4000
"""Number of replicates: an end of an interval has a standard error of 1 % of its width."""
CHUNK = 5_000_000
"""Number of weights in memory at once."""


@dataclass(frozen=True)
class SeedDraws:
    """Resampled training seeds, shared by all comparisons on them."""

    counts: Array
    """How often each replicate drew each seed: replicates x seeds."""
    scale: Array
    """Factor of each replicate that turns a normal deviation into a Student t one."""


@dataclass(frozen=True)
class Resampled:
    """A statistic of all observations and its deviations under resampling."""

    estimate: float
    by_items: Array
    by_seeds: Array

    @property
    def replicates(self) -> Array:
        """The statistic under resampling of both items and seeds."""
        return self.estimate + self.by_items + self.by_seeds


def new_generator() -> np.random.Generator:
    """Return the seeded generator of every summary, so that reports are reproducible."""
    return np.random.default_rng(20240)


def draw_seeds(seeds: int, replicates: int, generator: np.random.Generator) -> SeedDraws:
    r"""Resample training seeds, with factors that studentise their deviations.

    Plain resampling of two to five seeds gives intervals that are far too narrow. Deviations
    times :math:`\sqrt{S / \chi^2_{S-1}}` have the spread of Student's t with S - 1 degrees of
    freedom. This keeps the error rate at every level, at the price of wide intervals where the
    seeds disagree. A single seed is always drawn once and adds no variation.
    """
    counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=replicates)
    scale = np.sqrt(seeds / generator.chisquare(max(seeds - 1, 1), replicates))
    return SeedDraws(counts.astype(float), scale)


def draw_items(items: int, replicates: int, generator: np.random.Generator) -> Iterator[Array]:
    """Yield the counts of each item in each replicate, some replicates at a time."""
    for size in _chunks(replicates, items):
        drawn = generator.integers(items, size=(size, items))
        places = drawn + items * np.arange(size)[:, None]
        counts = np.bincount(places.ravel(), minlength=size * items)
        yield counts.reshape(size, items).astype(float)


def crossed(
    statistics: Mapping[str, Statistic],
    items: Indices,
    seeds: Indices,
    draws: SeedDraws,
    generator: np.random.Generator,
) -> dict[str, Resampled]:
    """Resample items and seeds of one set of observations, with the same draws for all statistics.

    Args:
        statistics: the statistics by name.
        items: the item of each observation, as a number from 0.
        seeds: the training seed of each observation, as a number from 0.
        draws: the resampled seeds.
        generator: draws the items.
    """
    n = int(items.max()) + 1
    item_draws = draw_items(n, len(draws.scale), generator)
    by_item = _values(statistics, item_draws, items)
    by_seed = _values_of_seeds(statistics, seeds, draws)
    unweighted = np.ones((1, len(items)))
    found = {}
    for name, statistic in statistics.items():
        estimate = float(statistic(unweighted)[0])
        item_part = (by_item[name] - estimate) * np.sqrt(n / max(n - 1, 1))
        seed_part = (by_seed[name] - estimate) * draws.scale
        found[name] = Resampled(estimate, item_part, seed_part)
    return found


def weighted_mean(values: Array) -> Statistic:
    """Return the weighted mean of the values as a function of weights; NaN is ignored."""
    known = np.isfinite(values)
    filled, is_known = np.where(known, values, 0.0), known.astype(float)

    def mean(weights: Array) -> Array:
        total = weights @ is_known
        means = np.full(len(total), np.nan)
        np.divide(weights @ filled, total, out=means, where=total > 0)
        return means

    return mean


def sums_by(groups: Indices) -> Callable[[Array], Array]:
    """Return a function that sums the columns of each group, groups in ascending order."""
    order = np.argsort(groups, kind="stable")
    starts = np.unique(groups[order], return_index=True)[1]

    def sums(columns: Array) -> Array:
        return np.asarray(np.add.reduceat(columns[:, order], starts, axis=1))

    return sums


def numbered(names: Sequence[Hashable]) -> Indices:
    """Number the names from 0 in order of first occurrence."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.intp)


def interval(replicates: Array) -> tuple[float, float]:
    """Return the quantiles that enclose 1 - LEVEL of the defined replicates."""
    known = replicates[~np.isnan(replicates)]
    low, high = np.quantile(known, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def p_value(replicates: Array) -> float:
    """Return the two-sided p-value of 0; it is below LEVEL if the interval excludes 0."""
    tail = int(min((replicates <= 0).sum(), (replicates >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(replicates) + 1))


def _values(
    statistics: Mapping[str, Statistic], draws: Iterator[Array], group: Indices
) -> dict[str, Array]:
    """Compute the statistics with each observation weighted by its group's count."""
    found: dict[str, list[Array]] = {name: [] for name in statistics}
    for counts in draws:
        weights = counts[:, group]
        for name, statistic in statistics.items():
            found[name].append(statistic(weights))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _values_of_seeds(
    statistics: Mapping[str, Statistic], seeds: Indices, draws: SeedDraws
) -> dict[str, Array]:
    """Compute the statistics once per distinct draw of the seeds: few seeds have few draws."""
    distinct, which = np.unique(draws.counts, axis=0, return_inverse=True)
    sizes = _chunks(len(distinct), len(seeds))
    pieces = iter(np.split(distinct, np.cumsum(sizes)[:-1]))
    return {name: found[which] for name, found in _values(statistics, pieces, seeds).items()}


def _chunks(rows: int, columns: int) -> list[int]:
    """Return the numbers of rows to process at a time."""
    most = max(1, CHUNK // columns)
    return [min(most, rows - start) for start in range(0, rows, most)]
