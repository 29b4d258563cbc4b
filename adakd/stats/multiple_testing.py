"""Conclusions about differences, adjusted for multiple comparisons."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from adakd.stats.bootstrap import LEVEL
from adakd.stats.differences import Difference

Conclusion = Literal["better", "worse", "not separable"]


def conclusion(
    difference: Difference, adjusted_p: float, higher_is_better: bool = True
) -> Conclusion:
    """Return the conclusion about a difference from its adjusted p-value."""
    if not adjusted_p < LEVEL:
        return "not separable"
    return "better" if (difference.estimate > 0) == higher_is_better else "worse"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of a family of comparisons by Holm's step-down method.

    References:
        Holm, `A Simple Sequentially Rejective Multiple Test Procedure
        <https://www.jstor.org/stable/4615733>`_, 1979.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return [float(value) for value in adjusted]


def sign_flip_floor(pairs: int) -> float:
    r"""Return the smallest p-value of a two-sided sign-flip test on n pairs, :math:`2^{1 - n}`."""
    return min(1.0, 2.0 ** (1 - pairs))
