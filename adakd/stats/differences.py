"""Paired differences between two arms, with intervals over items and training seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from adakd.stats.bootstrap import LEVEL, Array
from adakd.stats.components import Components, error_law, mean_of, observations
from adakd.stats.error_law import ErrorLaw
from adakd.stats.ratios import Ratio


@dataclass(frozen=True)
class Difference:
    """A paired difference with its uncertainty, in units of the metric."""

    estimate: float
    low: float
    """Lower end of the 95 % interval; NaN with a single item."""
    high: float
    p_value: float
    """Two-sided, of the same law as the interval; not adjusted."""
    law: ErrorLaw
    """The law of estimate minus truth."""
    minimum_effect: float
    """Smallest true difference that 80 % of such comparisons would find, each one alone; NaN with a
    single item, or where it was not asked for."""
    n_items: int
    n_seeds: int

    @property
    def se_items(self) -> float:
        """Standard error due to the sampling of items."""
        return self.law.items

    @property
    def se_seeds(self) -> float | None:
        """Standard error due to the training seeds; None with one seed."""
        return self.law.seeds if self.n_seeds > 1 else None


def paired_difference(on: ArrayLike, off: ArrayLike) -> Difference:
    """Compare two arms on the same items and training seeds; see :func:`pooled_difference`."""
    return pooled_difference([(on, off)])


def pooled_difference(
    pairs: Sequence[tuple[ArrayLike, ArrayLike]], detects: bool = True
) -> Difference:
    """Compare two arms by the mean of their differences over one or more sets of items.

    Items (within each set) and training seeds (over all sets together) count as sampled,
    independently of each other: see :mod:`adakd.stats.error_law`. With a single seed the interval
    does not cover variation between trainings.

    Args:
        pairs: for each set the scores of both arms, items x seeds, NaN where unscored; the seeds
            are the same and in the same order in all sets.
        detects: whether the minimum effect is wanted, which takes most of the time.

    Raises:
        ValueError: no item is scored in both arms for the same seed.
    """
    sets = _complete([np.asarray(on, float) - np.asarray(off, float) for on, off in pairs])
    estimate, law = _estimate(sets)
    n_items = sum(map(len, sets))
    half = law.half_width() if _can_vary(sets) else np.nan
    return Difference(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        p_value=_p_value(law, estimate, n_items) if _can_vary(sets) else 1.0,
        law=law,
        minimum_effect=law.detectable() if detects and _can_vary(sets) else np.nan,
        n_items=n_items,
        n_seeds=sets[0].shape[1],
    )


def item_pulls(pairs: Sequence[tuple[ArrayLike, ArrayLike]]) -> tuple[Array, ...]:
    """Return how far each item pulls the pooled difference, for each set; 0 where unscored.

    Differences on the same items err together: see :mod:`adakd.stats.joint_errors`.
    """
    sets = [np.asarray(on, float) - np.asarray(off, float) for on, off in pairs]
    common = np.all([np.isfinite(values).any(0) for values in sets], axis=0)
    pulls = []
    for values in sets:
        scored = np.isfinite(values[:, common]).any(1)
        pulls.append(np.zeros(len(values)))
        of_scored = Components.of(*observations(values[:, common][scored])).by_item
        pulls[-1][scored] = of_scored / len(sets)
    return tuple(pulls)


def gap_closed(sets: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]]) -> Ratio | None:
    """Return the share of the gap to the teacher that an arm closes: (on - off) / (teacher - off).

    The interval holds the shares x for which gain - x gap cannot be told from 0 (Fieller).

    Args:
        sets: for each set the scores of the arm, the plain arm and the teacher, items x seeds
            (the teacher may have one column).

    Returns:
        None if the gap itself cannot be told from 0: the share is then undefined.

    References:
        Fieller, `Some Problems in Interval Estimation
        <https://www.jstor.org/stable/2984043>`_, JRSSB 1954.
    """
    gains, gaps = [], []
    for on, off, teacher in (map(np.asarray, three) for three in sets):
        gain, gap = on - off, teacher - off
        scored = np.isfinite(gain + gap)
        gains.append(np.where(scored, gain, np.nan))
        gaps.append(np.where(scored, gap, np.nan))
    gains, gaps = _complete(gains), _complete(gaps)
    gap, law = _estimate(gaps)
    if not _can_vary(gaps) or not law.p_value(gap) < LEVEL:
        return None
    share = _estimate(gains)[0] / gap

    def is_possible(other: float) -> bool:
        left, its_law = _estimate([a - other * b for a, b in zip(gains, gaps, strict=True)])
        return its_law.p_value(left) >= LEVEL

    left = _estimate([a - share * b for a, b in zip(gains, gaps, strict=True)])[1]
    step = left.half_width() / abs(gap)
    low, high = (_end(is_possible, share, sign * step) for sign in (-1, 1))
    return Ratio(share, low, high, n=sum(map(len, gaps)))


def _estimate(sets: Sequence[Array]) -> tuple[float, ErrorLaw]:
    """Return the mean over sets with the law of its error."""
    parts = [Components.of(*observations(values)) for values in sets]
    return mean_of(parts).estimate, error_law(parts)


def _end(is_possible: Callable[[float], bool], start: float, step: float) -> float:
    """Return where the possible values end, to a thousandth of their distance from the start."""
    if step == 0:
        return start
    inside, outside = 0.0, step
    while is_possible(start + outside):
        inside, outside = outside, 2 * outside
    for _ in range(10):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_possible(start + middle) else (inside, middle)
    return start + (inside + outside) / 2


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


def _p_value(law: ErrorLaw, estimate: float, n_items: int) -> float:
    """Return the p-value; that of a sign-flip test on the items where nothing varied."""
    if law.is_degenerate and estimate != 0:
        return float(2.0 ** (1 - n_items))
    return law.p_value(estimate)
