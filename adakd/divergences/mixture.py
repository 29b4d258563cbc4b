"""Mixtures of two distributions, in log space or as probabilities."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def mixture(first: "Tensor", second: "Tensor", share: float) -> "Tensor":
    r"""Return the log-probabilities of :math:`(1 - s)\, a + s\, b`.

    Args:
        first: log-probabilities :math:`\log a`.
        second: log-probabilities :math:`\log b`, of the same shape.
        share: the weight :math:`s` of the second, at least 0 and below 1.
    """
    if share == 0:
        return first
    return (first + math.log1p(-share)).logaddexp(second + math.log(share))


def mix(first: "Tensor", second: "Tensor", share: float) -> "Tensor":
    r"""Return :math:`(1 - s)\, a + s\, b` of probabilities, a new tensor without zeros.

    Cheaper than :func:`mixture`. Where both probabilities underflow to 0 the result is a tiny
    number, so that its logarithm is finite and 0 times the logarithm is 0.
    """
    return positive(first.lerp(second, share))


def positive(values: "Tensor") -> "Tensor":
    """Replace 0 by a tiny number, in place, so that 0 times its logarithm is 0."""
    return values.clamp_min_(1e-300 if values.itemsize == 8 else 1e-37)
