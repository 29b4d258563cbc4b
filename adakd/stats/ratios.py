"""Ratios and proportions with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from adakd.stats.bootstrap import LEVEL, Array


@dataclass(frozen=True)
class Ratio:
    """A ratio or proportion with its 95 % interval and sample size."""

    estimate: float
    low: float
    high: float
    n: int


LEAST_PAIRS = 6
"""Fewest pairs whose median has a distribution-free 95 % interval: 2 / 2**6 is below 5 %."""


def median_ratio(on: ArrayLike, off: ArrayLike) -> Ratio:
    r"""Return the median of on / off over pairs, with an interval from the ratios of the pairs.

    What a pair shares, such as its batch and the load of the machine, cancels within its ratio.
    With the sorted ratios :math:`q_{(1)} \le \dots \le q_{(n)}`, the interval from
    :math:`q_{(d)}` to :math:`q_{(n + 1 - d)}` misses the median with probability
    :math:`2 P(B \le d - 1)`, :math:`B \sim \text{Bin}(n, 1/2)`, whatever the distribution; the ends
    are interpolated between the two d on either side of 5 %.

    Args:
        on: one value per pair, such as seconds.
        off: the other value of each pair, above 0.

    Returns:
        The ends are NaN with fewer than `LEAST_PAIRS` pairs: no interval then reaches 95 %.

    References:
        Hettmansperger and Sheather, `Confidence intervals based on interpolated order statistics
        <https://doi.org/10.1016/0167-7152(86)90021-0>`_, 1986.
    """
    ratios = np.sort(np.asarray(on, float) / np.asarray(off, float))
    low, high = _median_interval(ratios)
    return Ratio(float(np.median(ratios)), low, high, n=len(ratios))


def _median_interval(ordered: Array) -> tuple[float, float]:
    n = len(ordered)
    if n < LEAST_PAIRS:
        return float("nan"), float("nan")
    tails = 2 * np.cumsum([comb(n, k) / 2**n for k in range(n // 2)])
    d = int((tails <= LEVEL).sum())  # the narrowest interval that still misses 5 % or less
    excess = (LEVEL - tails[d - 1]) / (tails[d] - tails[d - 1])
    share = (n - d) * excess / (d + (n - 2 * d) * excess)
    low = (1 - share) * ordered[d - 1] + share * ordered[d]
    high = (1 - share) * ordered[n - d] + share * ordered[n - d - 1]
    return float(low), float(high)


def mean_ratio(ratios: Sequence[Ratio]) -> Ratio:
    r"""Return the geometric mean of independent ratios, with an interval from theirs.

    On the scale of logarithms, with k ratios and the ends :math:`l_i, u_i` around :math:`e_i`:

    .. math:: \bar e - \frac{t_\nu}{k} \sqrt{\textstyle\sum_i (e_i - l_i)^2 / t_{n_i - 1}^2}
        \quad\text{to}\quad
        \bar e + \frac{t_\nu}{k} \sqrt{\textstyle\sum_i (u_i - e_i)^2 / t_{n_i - 1}^2}

    An interval from few pairs is wide because its scale is little known, as Student's t is; over
    several ratios that averages out. So each side counts as t times a standard error, and their
    sum has Satterthwaite's degrees of freedom :math:`\nu`. Of a single ratio it is its interval.

    References:
        Satterthwaite, `An Approximate Distribution of Estimates of Variance Components
        <https://doi.org/10.2307/3002019>`_, Biometrics 1946; Zou and Donner, `Construction of
        confidence limits about effect measures <https://doi.org/10.1002/sim.3095>`_, 2008, for the
        two sides apart.
    """
    ends = np.log([(ratio.estimate, ratio.low, ratio.high) for ratio in ratios])
    estimate, low, high = ends.T
    mean = estimate.mean()
    dfs = np.array([max(ratio.n - 1, 1) for ratio in ratios])
    below, above = (_half_width(part, dfs) for part in (estimate - low, high - estimate))
    centre, start, end = (float(value) for value in np.exp([mean, mean - below, mean + above]))
    return Ratio(centre, start, end, n=sum(ratio.n for ratio in ratios))


def _half_width(parts: Array, dfs: Array) -> float:
    """Return the half-width of a mean from those of its parts."""
    variances = (parts / stdtrit(dfs, 1 - LEVEL / 2)) ** 2
    total = variances.sum()
    if total == 0:
        return 0.0
    df = total**2 / (variances**2 / dfs).sum()
    return float(stdtrit(df, 1 - LEVEL / 2) * np.sqrt(total) / len(parts))


def wilson(successes: int, n: int) -> Ratio:
    """Return the proportion of successful independent trials with Wilson's score interval.

    Args:
        successes: number of successful trials, such as vetting pairs that a judge got right.
        n: number of trials.

    Raises:
        ValueError: there are no trials, or more successes than trials.

    References:
        Wilson, `Probable Inference, the Law of Succession, and Statistical Inference
        <https://doi.org/10.1080/01621459.1927.10502953>`_, 1927.
    """
    from scipy.stats import binomtest  # slow to import and rarely needed

    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is no share")
    ends = binomtest(successes, n).proportion_ci(1 - LEVEL, method="wilson")
    return Ratio(successes / n, float(ends.low), float(ends.high), n=n)
