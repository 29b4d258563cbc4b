"""Conclusions from adjusted p-values, and the least p-value that signs can give."""

from typing import Literal

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


def sign_flip_floor(pairs: int) -> float:
    r"""Return the smallest p-value of a two-sided sign-flip test on n pairs, :math:`2^{1 - n}`."""
    return min(1.0, 2.0 ** (1 - pairs))
