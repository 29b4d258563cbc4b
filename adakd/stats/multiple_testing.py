"""Words for differences, and what many of them at once may claim."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from adakd.stats.bootstrap import LEVEL
from adakd.stats.differences import Difference

Conclusion = Literal["better", "worse", "not separable"]


def conclusion(
    difference: Difference, adjusted_p: float, higher_is_better: bool = True
) -> Conclusion:
    """Return the verdict on a difference, by its Holm-adjusted p-value."""
    if not adjusted_p < LEVEL:
        return "not separable"
    return "better" if (difference.estimate > 0) == higher_is_better else "worse"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of a family of comparisons by Holm's step-down method."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return [float(value) for value in adjusted]


def sign_flip_floor(pairs: int) -> float:
    """Return the least p-value that a sign-flip test on so many paired values can give."""
    return min(1.0, 2.0 ** (1 - pairs))
