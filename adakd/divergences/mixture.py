"""The mixture of two distributions, taken in log space."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def mixture(first: "Tensor", second: "Tensor", share: float) -> "Tensor":
    r"""Return the log-probabilities of :math:`(1 - s)\, a + s\, b`.

    Args:
        first: log-probabilities :math:`\log a`.
        second: log-probabilities :math:`\log b`, of the same shape.
        share: the part :math:`s` of the second, at least 0 and below 1.
    """
    if share == 0:
        return first
    return (first + math.log1p(-share)).logaddexp(second + math.log(share))
