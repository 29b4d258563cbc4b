r"""Confidence sequences: intervals that stay valid however often one looks, and stops.

An interval of a fixed sample is wrong more often than it says when the sample was ended because
of what it showed. The hedged-capital sequence bets against every mean :math:`m` at once:

.. math:: K^\pm_t(m) = \prod_{i \le t} (1 \pm \lambda^\pm_i(m) (x_i - m))

If :math:`m` is the true mean, no bet is expected to win, and by Ville's inequality the capital
:math:`\max(K^+, K^-) / 2` ever reaches :math:`1 / \alpha` with probability at most alpha. So the
means under which it never did are a confidence set at all times together.

References:
    Waudby-Smith and Ramdas, `Estimating means of bounded random variables by betting
    <https://arxiv.org/abs/2010.09686>`_, JRSSB 2024, theorem 3 with the bets of equation 26.
"""

import numpy as np
from numpy.typing import ArrayLike

from adakd.stats.bootstrap import LEVEL, Array
from adakd.stats.ratios import Ratio

GRID = 1000
"""Steps of the grid of means; bounds are rounded outwards to it."""
LARGEST_BET = 0.5
"""Share of the capital that may be lost on one observation."""
CHUNK = 1000
"""Observations x grid at once, to bound the memory."""


def confidence_sequence(points: ArrayLike, level: float = LEVEL) -> tuple[Array, Array]:
    """Return lower and upper bounds of the mean after each observation, valid at all of them.

    Args:
        points: independent values from 0 to 1 with the same mean, such as the points of each
            prompt (the mean over its pairs), in an order drawn before they were known.
        level: probability that the mean is ever outside.

    Returns:
        Lower and upper bounds, one a value; they never widen. Should every mean be excluded,
        the last bounds stay.

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
    r"""Return the bet on each value, from the values before it alone.

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
    """Return the log of the capital that bets on values above each mean make, values x means."""
    shares = np.minimum(bets[:, None], LARGEST_BET / means)
    return np.cumsum(np.log1p(shares * (x[:, None] - means)), axis=0)


def _ends(possible: Array) -> Array:
    """Return the grid points next to the means that are still possible; (0, 1) where none is."""
    some = possible.any(1)
    first, last = possible.argmax(1), GRID - possible[:, ::-1].argmax(1)
    return np.stack([np.where(some, first, 0), np.where(some, last, GRID)], axis=1) / GRID
