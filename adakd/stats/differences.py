"""Paired differences between two arms, with intervals over items and training seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from adakd.stats.bootstrap import (
    REPLICATES,
    Array,
    Resampled,
    draw_items,
    draw_seeds,
    interval,
    new_generator,
    p_value,
)
from adakd.stats.ratios import Ratio

POWER_FACTOR = 2.8
"""Standard errors an effect must reach to be detected with 80 % power (1.96 + 0.84)."""


@dataclass(frozen=True)
class Difference:
    """A paired difference with its uncertainty, in units of the metric."""

    estimate: float
    low: float
    """Lower end of the 95 % interval; NaN with a single item."""
    high: float
    p_value: float
    """Two-sided, from the same replicates as the interval; not adjusted."""
    se_items: float
    """Standard error due to the sampling of items."""
    se_seeds: float | None
    """Standard error due to the training seeds; None with one seed."""
    minimum_effect: float
    """Smallest true difference that such a comparison separates from 0 with 80 % power."""
    n_items: int
    n_seeds: int


def paired_difference(on: ArrayLike, off: ArrayLike) -> Difference:
    """Compare two arms on the same items and training seeds; see :func:`pooled_difference`."""
    return pooled_difference([(on, off)])


def pooled_difference(pairs: Sequence[tuple[ArrayLike, ArrayLike]]) -> Difference:
    """Compare two arms by the mean of their differences over one or more sets of items.

    Items (within each set) and training seeds (over all sets together) are resampled
    independently of each other, seeds studentised: see
    :func:`adakd.stats.bootstrap.draw_seeds`. A single seed is not resampled: the interval then
    does not cover variation between trainings.

    Args:
        pairs: for each set the scores of both arms, items x seeds, NaN where unscored; the seeds
            are the same and in the same order in all sets.

    Raises:
        ValueError: no item is scored in both arms for the same seed.
    """
    sets = _complete([np.asarray(on, float) - np.asarray(off, float) for on, off in pairs])
    (resampled,) = _resample(sets)
    n_items, n_seeds = sum(map(len, sets)), sets[0].shape[1]
    replicates = resampled.replicates
    low, high = interval(replicates) if _can_vary(sets) else (np.nan, np.nan)
    return Difference(
        estimate=resampled.estimate,
        low=low,
        high=high,
        p_value=p_value(replicates) if _can_vary(sets) else 1.0,
        se_items=float(resampled.by_items.std()),
        se_seeds=_seed_error(sets),
        minimum_effect=POWER_FACTOR * (high - low) / (2 * 1.96),
        n_items=n_items,
        n_seeds=n_seeds,
    )


def gap_closed(sets: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]]) -> Ratio | None:
    """Return the share of the gap to the teacher that an arm closes: (on - off) / (teacher - off).

    Args:
        sets: for each set the scores of the arm, the plain arm and the teacher, items x seeds
            (the teacher may have one column).

    Returns:
        None if the interval of the gap itself contains 0: the share is then undefined.
    """
    gains, gaps = [], []
    for on, off, teacher in (map(np.asarray, three) for three in sets):
        gain, gap = on - off, teacher - off
        scored = np.isfinite(gain + gap)
        gains.append(np.where(scored, gain, np.nan))
        gaps.append(np.where(scored, gap, np.nan))
    gains, gaps = _complete(gains), _complete(gaps)
    gained, there = _resample(gains, gaps)
    low, high = interval(there.replicates)
    if low <= 0 <= high or not _can_vary(gaps):
        return None
    ends = interval(gained.replicates / there.replicates)
    return Ratio(gained.estimate / there.estimate, *ends, n=sum(map(len, gaps)))


def _complete(sets: Sequence[Array]) -> list[Array]:
    """Keep the seeds with scores in every set, and the items with a score."""
    seeds = np.all([np.isfinite(values).any(0) for values in sets], axis=0)
    complete = [values[:, seeds] for values in sets]
    complete = [values[np.isfinite(values).any(1)] for values in complete]
    if not seeds.any():
        raise ValueError("no item is scored in both arms for the same training seed")
    return complete


def _can_vary(sets: Sequence[Array]) -> bool:
    return all(len(values) > 1 for values in sets)


def _resample(*quantities: Sequence[Array]) -> tuple[Resampled, ...]:
    """Resample the means over sets of their means: items per set, seeds shared by all sets.

    The draws are the same for all quantities, which are known for the same items and seeds.
    """
    generator = new_generator()
    first = quantities[0]
    draws = draw_seeds(first[0].shape[1], REPLICATES, generator)
    found: list[list[Resampled]] = [[] for _ in quantities]
    for place, values in enumerate(first):
        known = np.isfinite(values)
        n = len(values)
        sums = [np.where(known, each[place], 0.0) for each in quantities]
        by_seed = [_ratio(draws.counts @ of.sum(0), draws.counts @ known.sum(0)) for of in sums]
        by_item: list[list[Array]] = [[] for _ in quantities]
        for counts in draw_items(n, REPLICATES, generator):
            total = counts @ known.sum(1)
            for parts, of in zip(by_item, sums, strict=True):
                parts.append(_ratio(counts @ of.sum(1), total))
        for to, of, items, seeds in zip(found, sums, by_item, by_seed, strict=True):
            estimate = float(of.sum() / known.sum())
            item_part = (np.concatenate(items) - estimate) * np.sqrt(n / max(n - 1, 1))
            to.append(Resampled(estimate, item_part, (seeds - estimate) * draws.scale))
    return tuple(
        Resampled(
            float(np.mean([each.estimate for each in sets])),
            np.mean([each.by_items for each in sets], axis=0),
            np.mean([each.by_seeds for each in sets], axis=0),
        )
        for sets in found
    )


def _ratio(sums: Array, counts: Array) -> Array:
    """Return means from sums; NaN where a replicate drew nothing that is known."""
    means = np.full(len(sums), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def _seed_error(sets: Sequence[Array]) -> float | None:
    seeds = sets[0].shape[1]
    if seeds < 2:
        return None
    by_seed = np.mean([np.nanmean(values, axis=0) for values in sets], axis=0)
    return float(by_seed.std(ddof=1) / np.sqrt(seeds))
