"""Crossed resampling: items and training seeds drawn again, independently of each other.

A statistic is a function of weights: a resampled item or seed counts as often as it was drawn,
with all its observations together. Whatever can be computed from weighted observations, a mean
or a refitted model, so gets the same kind of interval.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Statistic = Callable[[Array], Array]
"""From weights, replicates x observations, to a value a replicate; NaN where it has none."""

LEVEL = 0.05
"""Intervals cover 1 - LEVEL; words are given at LEVEL after Holm's adjustment."""
REPLICATES = 4000
"""Enough for p-values down to 0.0005, so that Holm can still separate among a hundred rows."""
CHUNK = 5_000_000
"""Weights that are held in memory at once."""


@dataclass(frozen=True)
class SeedDraws:
    """Resampled training seeds, shared by all that is compared on them."""

    counts: Array
    """How often each replicate drew each seed: replicates x seeds."""
    scale: Array
    """What turns a replicate's deviation from a normal into a Student one."""


@dataclass(frozen=True)
class Resampled:
    """A statistic of all observations, and how far resampling moves it."""

    estimate: float
    by_items: Array
    by_seeds: Array

    @property
    def replicates(self) -> Array:
        """The statistic as items and seeds both move it."""
        return self.estimate + self.by_items + self.by_seeds


def new_generator() -> np.random.Generator:
    """Return the generator that every summary starts from, so that reports repeat."""
    return np.random.default_rng(20240)


def draw_seeds(seeds: int, replicates: int, generator: np.random.Generator) -> SeedDraws:
    r"""Resample training seeds, with the factors that studentise their part of a replicate.

    Two to five seeds resampled as they are give intervals that are far too narrow. Deviations
    times :math:`\sqrt{S / \chi^2_{S-1}}` have the spread of Student's t with S - 1 degrees of
    freedom: this keeps the error rate at every level, at the price of wide intervals where the
    seeds disagree. A single seed is always drawn once, so it moves nothing.
    """
    counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=replicates)
    scale = np.sqrt(seeds / generator.chisquare(max(seeds - 1, 1), replicates))
    return SeedDraws(counts.astype(float), scale)


def draw_items(items: int, replicates: int, generator: np.random.Generator) -> Iterator[Array]:
    """Yield how often each replicate drew each item, some replicates at a time."""
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
    """Resample items and seeds of one set of observations, the same ones for all statistics.

    Args:
        statistics: what to compute, by name.
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
    """Return the mean of the values as a function of weights; NaN values do not count."""
    known = np.isfinite(values)
    filled, counted = np.where(known, values, 0.0), known.astype(float)

    def mean(weights: Array) -> Array:
        total = weights @ counted
        means = np.full(len(total), np.nan)
        np.divide(weights @ filled, total, out=means, where=total > 0)
        return means

    return mean


def sums_by(groups: Indices) -> Callable[[Array], Array]:
    """Return the function that adds up the columns of each group, groups in rising order."""
    order = np.argsort(groups, kind="stable")
    starts = np.unique(groups[order], return_index=True)[1]

    def sums(columns: Array) -> Array:
        return np.asarray(np.add.reduceat(columns[:, order], starts, axis=1))

    return sums


def numbered(names: Sequence[Hashable]) -> Indices:
    """Number the names from 0, in the order in which they first come."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.intp)


def interval(replicates: Array) -> tuple[float, float]:
    """Return the quantiles that hold 1 - LEVEL of the replicates which have a value."""
    known = replicates[~np.isnan(replicates)]
    low, high = np.quantile(known, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def p_value(replicates: Array) -> float:
    """Return the two-sided p-value of 0; it is below LEVEL where the interval excludes 0."""
    tail = int(min((replicates <= 0).sum(), (replicates >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(replicates) + 1))


def _values(
    statistics: Mapping[str, Statistic], draws: Iterator[Array], group: Indices
) -> dict[str, Array]:
    """Compute the statistics where each observation weighs what its group was drawn."""
    found: dict[str, list[Array]] = {name: [] for name in statistics}
    for counts in draws:
        weights = counts[:, group]
        for name, statistic in statistics.items():
            found[name].append(statistic(weights))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _values_of_seeds(
    statistics: Mapping[str, Statistic], seeds: Indices, draws: SeedDraws
) -> dict[str, Array]:
    """Compute the statistics once for each way to draw the seeds: a few seeds have few."""
    ways, which = np.unique(draws.counts, axis=0, return_inverse=True)
    sizes = _chunks(len(ways), len(seeds))
    pieces = iter(np.split(ways, np.cumsum(sizes)[:-1]))
    return {name: found[which] for name, found in _values(statistics, pieces, seeds).items()}


def _chunks(rows: int, columns: int) -> list[int]:
    """Return how many rows to take at a time."""
    most = max(1, CHUNK // columns)
    return [min(most, rows - start) for start in range(0, rows, most)]
