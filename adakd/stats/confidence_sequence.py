r"""Confidence sequences: intervals that remain valid under continuous monitoring.

A fixed-sample interval loses its coverage if the decision to stop depends on the data. The
hedged-capital sequence bets against every mean :math:`m` at once:

.. math:: K^\pm_t(m) = \prod_{i \le t} (1 \pm \lambda^\pm_i(m) (x_i - m))

If :math:`m` is the true mean, no bet is expected to win, and by Ville's inequality the capital
:math:`\max(K^+, K^-) / 2` ever reaches :math:`1 / \alpha` with probability at most :math:`\alpha`.
The means for which it has not are a confidence set that is valid at all times simultaneously.

References:
    Waudby-Smith and Ramdas, `Estimating means of bounded random variables by betting
    <https://arxiv.org/abs/2010.09686>`_, JRSSB 2024, theorem 3 with the bets of equation 26.
"""

import numpy as np
from numpy.typing import ArrayLike

from adakd.stats.bootstrap import LEVEL, Array
from adakd.stats.ratios import Ratio

GRID = 1000
"""Number of grid steps for the mean; bounds are rounded outwards to the grid."""
LARGEST_BET = 0.5
"""Largest share of the capital at risk on one observation."""
CHUNK = 1000
"""Observations processed at a time, to bound memory."""


def confidence_sequence(points: ArrayLike, level: float = LEVEL) -> tuple[Array, Array]:
    """Return bounds of the mean after each observation, valid for all of them simultaneously.

    Args:
        points: independent values from 0 to 1 with the same mean, such as the points of each
            prompt (the mean over its pairs), in an order drawn before the values were known.
        level: probability that the mean is ever outside the bounds.

    Returns:
        Lower and upper bounds, one per value; they never widen. If every mean is excluded, the
        last bounds remain.

    Raises:
        ValueError: a value is outside [0, 1].
    """
    x = np.asarray(points, float)
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError("a confidence sequence needs values from 0 to 1")
    bets = _bets(x, level)
    grid = np.arange(1, GRID) / GRID
    up, down, most = np.zeros_like(grid), np.zeros_like(grid), np.zeros_like(grid)
    bounds = [np.empty((0, 2))]
    for start in range(0, len(x), CHUNK):
        part = slice(start, start + CHUNK)
        ups = up + _log_capital(x[part], bets[part], grid)
        downs = down + _log_capital(1 - x[part], bets[part], 1 - grid)
        highest = np.maximum.accumulate(np.maximum(np.maximum(ups, downs), most))
        bounds.append(_ends(highest < np.log(2 / level)))
        up, down, most = ups[-1], downs[-1], highest[-1]
    lower, upper = np.concatenate(bounds).T
    return np.maximum.accumulate(lower), np.minimum.accumulate(upper)


def always_valid(points: ArrayLike, level: float = LEVEL) -> Ratio:
    """Return the mean with the last bounds of its confidence sequence.

    Raises:
        ValueError: there are no values, or one is outside [0, 1].
    """
    x = np.asarray(points, float)
    if not len(x):
        raise ValueError("a confidence sequence needs values from 0 to 1")
    lower, upper = confidence_sequence(x, level)
    return Ratio(float(x.mean()), float(lower[-1]), float(upper[-1]), n=len(x))


def _bets(x: Array, level: float) -> Array:
    r"""Return the bet on each value, based on earlier values only.

    .. math:: \lambda_t = \sqrt{\frac{2 \log(2 / \alpha)}{\hat\sigma^2_{t-1} t \log(t + 1)}}

    with :math:`\hat\sigma^2_t = (1/4 + \sum_{i \le t} (x_i - \hat\mu_i)^2) / (t + 1)` and
    :math:`\hat\mu_t = (1/2 + \sum_{i \le t} x_i) / (t + 1)`.
    """
    t = np.arange(1, len(x) + 1)
    means = (0.5 + np.cumsum(x)) / (t + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variances])[:-1]
    return np.asarray(np.sqrt(2 * np.log(2 / level) / (before * t * np.log(t + 1))))


def _log_capital(x: Array, bets: Array, means: Array) -> Array:
    """Return the log capital of bets on values above each mean, values x means."""
    shares = np.minimum(bets[:, None], LARGEST_BET / means)
    return np.cumsum(np.log1p(shares * (x[:, None] - means)), axis=0)


def _ends(possible: Array) -> Array:
    """Return the grid points enclosing the remaining means; (0, 1) if none remains."""
    some = possible.any(1)
    first, last = possible.argmax(1), GRID - possible[:, ::-1].argmax(1)
    return np.stack([np.where(some, first, 0), np.where(some, last, GRID)], axis=1) / GRID
