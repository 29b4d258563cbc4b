"""Pulls: how far a judge leans to one side, as differences of shares with their intervals."""

from collections.abc import Sequence
from math import hypot, sqrt

import numpy as np
from scipy.special import ndtri

from adakd.stats.bootstrap import LEVEL
from adakd.stats.ratios import Ratio


def lean(values: Sequence[float]) -> Ratio:
    r"""Return the mean of values between -1 and 1, with an interval that never has no width.

    .. math:: \tilde d \pm z \sqrt{\frac{\sum d^2 + 1}{(n + 2)^2} - \frac{\tilde d^2}{n + 2}},
        \quad \tilde d = \frac{\sum d}{n + 2}

    Half an observation at either end and one in the middle are added, as in the interval of
    Agresti and Min for paired shares.

    Args:
        values: at least one.

    References:
        Agresti and Min, `Simple improved confidence intervals for comparing matched proportions
        <https://doi.org/10.1002/sim.1781>`_, 2005.
    """
    found = np.asarray(values, float)
    n = len(found)
    middle = found.sum() / (n + 2)
    error = sqrt(max((np.square(found).sum() + 1) / (n + 2) - middle**2, 0.0) / (n + 2))
    half = float(ndtri(1 - LEVEL / 2)) * error
    return Ratio(float(found.mean()), max(middle - half, -1.0), min(middle + half, 1.0), n)


def share_difference(one: Ratio, other: Ratio) -> Ratio:
    """Return the difference of two independent shares with Newcombe's interval.

    Args:
        one: a share with Wilson's interval, as by :func:`~adakd.stats.wilson`.
        other: the share to subtract.

    References:
        Newcombe, `Interval estimation for the difference between independent proportions
        <https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8%3C873::AID-SIM779%3E3.0.CO;2-I>`_,
        1998, method 10.
    """
    difference = one.estimate - other.estimate
    down = hypot(one.estimate - one.low, other.high - other.estimate)
    up = hypot(one.high - one.estimate, other.estimate - other.low)
    return Ratio(difference, difference - down, difference + up, one.n + other.n)
