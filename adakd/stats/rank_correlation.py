"""Whether two lists of scores put the same things in the same order."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite

import numpy as np
from scipy.stats import kendalltau


@dataclass(frozen=True)
class OrderAgreement:
    """How far two orders of the same things agree."""

    tau: float | None
    """Kendall's tau-b, from -1 to 1; None where one of the lists has no order at all."""
    pairs: int
    """Pairs that neither list ties."""
    differing: tuple[tuple[int, int], ...]
    """The positions of those that the lists order differently; the second list's better first."""


def order_agreement(ours: Sequence[float], theirs: Sequence[float]) -> OrderAgreement:
    r"""Compare the orders of two lists of scores of the same things.

    .. math:: \tau_b = \frac{C - D}{\sqrt{(P - T_1)(P - T_2)}}

    over the P pairs, C of which both lists order alike, D differently, and T of which a list ties.

    References:
        Kendall, `The treatment of ties in ranking problems
        <https://doi.org/10.1093/biomet/33.3.239>`_, 1945.
    """
    ordered, differing = 0, []
    for one, other in combinations(range(len(ours)), 2):
        alike = np.sign(ours[one] - ours[other]) * np.sign(theirs[one] - theirs[other])
        ordered += int(alike != 0)
        if alike < 0:
            differing.append((one, other) if theirs[one] > theirs[other] else (other, one))
    tau = float(kendalltau(ours, theirs).statistic) if ordered else float("nan")
    return OrderAgreement(tau if isfinite(tau) else None, ordered, tuple(differing))
