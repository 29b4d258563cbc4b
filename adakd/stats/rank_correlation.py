"""Agreement of the orders in two lists of scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial, isfinite

import numpy as np


@dataclass(frozen=True)
class OrderAgreement:
    """Agreement of two orders of the same items."""

    tau: float | None
    """Kendall's tau-b, from -1 to 1; None if all scores of a list are tied."""
    p_value: float | None
    """Two-sided, of no association; exact without ties, by the normal approximation with them."""
    least_p: float
    """The p-value of two equal orders without ties, which no other can be below: 2 / K!."""
    pairs: int
    """Number of pairs tied in neither list."""
    differing: tuple[tuple[int, int], ...]
    """Positions of the pairs ordered differently, the second list's better item first."""


def order_agreement(ours: Sequence[float], theirs: Sequence[float]) -> OrderAgreement:
    r"""Compare the orders of two lists of scores of the same items.

    .. math:: \tau_b = \frac{C - D}{\sqrt{(P - T_1)(P - T_2)}}

    over P pairs: C concordant, D discordant, and T1 and T2 tied in the first and the second list.

    References:
        Kendall, `The treatment of ties in ranking problems
        <https://doi.org/10.1093/biomet/33.3.239>`_, 1945.
    """
    from scipy.stats import kendalltau  # half a second that a mistake need not wait for

    ordered, differing = 0, []
    for one, other in combinations(range(len(ours)), 2):
        alike = np.sign(ours[one] - ours[other]) * np.sign(theirs[one] - theirs[other])
        ordered += int(alike != 0)
        if alike < 0:
            differing.append((one, other) if theirs[one] > theirs[other] else (other, one))
    found = kendalltau(ours, theirs) if ordered else None
    known = found if found is not None and isfinite(found.statistic) else None
    least = min(1.0, 2 / factorial(len(ours)))
    return OrderAgreement(
        tau=float(known.statistic) if known is not None else None,
        p_value=max(float(known.pvalue), least) if known is not None else None,
        least_p=least,
        pairs=ordered,
        differing=tuple(differing),
    )
