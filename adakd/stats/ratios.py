"""Ratios and proportions with their intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from adakd.stats.bootstrap import LEVEL, REPLICATES, interval, new_generator


@dataclass(frozen=True)
class Ratio:
    """A ratio or proportion with its 95 % interval and sample size."""

    estimate: float
    low: float
    high: float
    n: int


def ratio_of_medians(on: ArrayLike, off: ArrayLike) -> Ratio:
    """Return median(on) / median(off) with an interval from resampled pairs.

    Args:
        on: one value per pair, such as seconds.
        off: the other value of each pair.
    """
    numerator, denominator = np.asarray(on, float), np.asarray(off, float)
    draws = new_generator().integers(len(numerator), size=(REPLICATES, len(numerator)))
    ratios = np.median(numerator[draws], axis=1) / np.median(denominator[draws], axis=1)
    estimate = float(np.median(numerator) / np.median(denominator))
    return Ratio(estimate, *interval(ratios), n=len(numerator))


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
