r"""The difference of two methods whose trainings share nothing but the items they are scored on.

The items are the same, so their difference is taken item by item; the trainings are not paired, so
each side adds the variance of its own mean:

.. math:: v = \frac{1}{K^2} \sum_k \frac{\mathrm{var}_i(d_{ki})}{n_k} + \frac{s_a^2}{S_a}
    + \frac{s_b^2}{S_b}

for K sets of :math:`n_k` items, :math:`d_{ki}` the difference of an item between the means over
trainings, and :math:`s^2` the variance between the S trainings of a side. A side with a single
training is taken to vary as the other one does. What is left of chance in training in the
:math:`d_{ki}` counts twice, so the interval is rather too wide than too narrow. Degrees of freedom
are Welch's and Satterthwaite's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from adakd.stats.bootstrap import LEVEL, Array


@dataclass(frozen=True)
class Unpaired:
    """A difference with its 95 % interval."""

    estimate: float
    low: float
    high: float
    trainings: tuple[int, int]
    """Of each side; with one on both, the interval covers the items alone."""
    items: int

    @property
    def is_known(self) -> bool:
        """Whether there is an interval: not where nothing varies, or a single item is scored."""
        return isfinite(self.low)


def unpaired_difference(sets: Sequence[tuple[ArrayLike, ArrayLike]]) -> Unpaired:
    """Compare two methods that are not paired, by the mean of their differences over sets.

    Args:
        sets: for each set the scores of both sides, items x trainings, NaN where unscored; the
            items are the same and in the same order.

    Raises:
        ValueError: no item of a set is scored on both sides.
    """
    known = [_known(np.asarray(on, float), np.asarray(off, float)) for on, off in sets]
    apart = [np.nanmean(on, axis=1) - np.nanmean(off, axis=1) for on, off in known]
    estimate = float(np.mean([of.mean() for of in apart]))
    parts = [
        (float(of.var(ddof=1)) / len(of) / len(apart) ** 2, len(of) - 1)
        for of in apart
        if len(of) > 1
    ]
    sides = [_means([pair[side] for pair in known]) for side in (0, 1)]
    spreads = [float(of.var(ddof=1)) if len(of) > 1 else nan for of in sides]
    for side, means in enumerate(sides):
        spread, df = spreads[side], len(means) - 1
        if np.isnan(spread):
            spread, df = spreads[1 - side], len(sides[1 - side]) - 1
        if not np.isnan(spread):
            parts.append((spread / len(means), df))
    half = _half_width(parts)
    return Unpaired(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        trainings=(len(sides[0]), len(sides[1])),
        items=sum(map(len, apart)),
    )


def _known(on: Array, off: Array) -> tuple[Array, Array]:
    """Return the items that both sides have a score of, without trainings that have none."""
    both = np.isfinite(on).any(1) & np.isfinite(off).any(1)
    if not both.any():
        raise ValueError("no item is scored on both sides")
    on, off = on[both], off[both]
    return on[:, np.isfinite(on).any(0)], off[:, np.isfinite(off).any(0)]


def _means(of_sets: Sequence[Array]) -> Array:
    """Return the mean over sets of each training that all sets have."""
    count = min(matrix.shape[1] for matrix in of_sets)
    means: Array = np.mean([np.nanmean(matrix[:, :count], axis=0) for matrix in of_sets], axis=0)
    return means


def _half_width(parts: Sequence[tuple[float, int]]) -> float:
    """Return half of an interval, from variances and their degrees of freedom."""
    variance = sum(of for of, _ in parts)
    if not variance:
        return nan  # nothing varies, which says nothing of how much it could
    df = variance**2 / sum(of**2 / df for of, df in parts)
    return float(stdtrit(min(df, 1e9), 1 - LEVEL / 2)) * sqrt(variance) if df else inf
