"""Ratios of medians, and shares of trials."""

import numpy as np
import pytest
from scipy.stats import t

from adakd.stats import LEAST_PAIRS, Ratio, mean_ratio, median_ratio, wilson

RNG = np.random.default_rng(7)


def times(rng, pairs, outliers=0.0):
    """Return seconds of both arms, true ratio 1.1: batches differ by 25 %, load drifts."""
    shared = rng.normal(0, 0.25, pairs) + np.linspace(0, 0.3, pairs)
    own = rng.normal(0, 0.03, (2, pairs))
    own += (rng.random((2, pairs)) < outliers) * rng.exponential(0.5, (2, pairs))
    return 1.1 * np.exp(shared + own[0]), np.exp(shared + own[1])


def test_what_a_pair_shares_cancels():
    plain = np.array([1.0, 2.0, 40.0, 3.0, 5.0, 8.0])
    assert median_ratio(1.5 * plain, plain) == Ratio(1.5, 1.5, 1.5, 6)


def test_the_interval_by_hand():
    """Of six pairs, the extremes miss the median with 2 / 64 and their neighbours with 14 / 64."""
    ratio = median_ratio([1.0, 1.1, 1.2, 1.3, 1.4, 1.5], np.ones(6))
    excess = (0.05 - 2 / 64) / (12 / 64)
    share = 5 * excess / (1 + 4 * excess)
    assert ratio.estimate == pytest.approx(1.25)
    assert (ratio.low, ratio.high) == pytest.approx((1 + 0.1 * share, 1.5 - 0.1 * share))


def test_inverse_ratios_have_the_inverse_median_and_nearly_the_inverse_ends():
    on, off = times(np.random.default_rng(1), 21)
    ratio, inverse = median_ratio(on, off), median_ratio(off, on)
    assert inverse.estimate == pytest.approx(1 / ratio.estimate)
    assert (inverse.low, inverse.high) == pytest.approx((1 / ratio.high, 1 / ratio.low), rel=1e-3)


def test_too_few_pairs_have_no_interval():
    few = median_ratio([1.0, 1.2], [1.0, 1.0])
    assert few.estimate == pytest.approx(1.1)
    assert np.isnan([few.low, few.high]).all()
    on, off = times(RNG, LEAST_PAIRS)
    assert np.isfinite(median_ratio(on, off).low)


@pytest.mark.parametrize("outliers", [0.0, 0.1])
@pytest.mark.parametrize(("pairs", "widest"), [(6, 0.11), (10, 0.085), (20, 0.06), (40, 0.042)])
def test_the_interval_of_pairs_covers_and_is_narrow(pairs, widest, outliers):
    rng = np.random.default_rng(pairs)
    found = [median_ratio(*times(rng, pairs, outliers)) for _ in range(600)]
    assert 0.925 <= np.mean([ratio.low <= 1.1 <= ratio.high for ratio in found]) <= 0.985
    if not outliers:
        assert np.mean([ratio.high - ratio.low for ratio in found]) <= widest


def half_width(one, other):
    """Return that of a mean of two, whose sides are t with nine degrees of freedom."""
    squares = np.square([one, other]) / t.ppf(0.975, 9) ** 2
    df = 9 * squares.sum() ** 2 / (squares**2).sum()
    return t.ppf(0.975, df) * np.sqrt(squares.sum()) / 2


def test_the_mean_of_ratios_by_hand():
    mean = mean_ratio([Ratio(1.0, 0.9, 1.2, 10), Ratio(1.21, 1.1, 1.3, 10)])
    below, above = (
        half_width(*np.log(sides)) for sides in ([1.0 / 0.9, 1.21 / 1.1], [1.2 / 1.0, 1.3 / 1.21])
    )
    assert mean.estimate == pytest.approx(1.1)
    assert (mean.low, mean.high) == pytest.approx((1.1 * np.exp(-below), 1.1 * np.exp(above)))
    assert mean.n == 20
    one = Ratio(1.1, 1.0, 1.3, 10)
    same = mean_ratio([one])
    assert (same.estimate, same.low, same.high) == pytest.approx((1.1, 1.0, 1.3))
    assert np.isnan(mean_ratio([one, Ratio(1.1, np.nan, np.nan, 2)]).low)


@pytest.mark.parametrize("pairs", [6, 10])
def test_the_interval_of_a_mean_of_ratios_covers_and_is_narrow(pairs):
    rng = np.random.default_rng(0)
    found = [mean_ratio([median_ratio(*times(rng, pairs)) for _ in range(5)]) for _ in range(600)]
    assert 0.94 <= np.mean([ratio.low <= 1.1 <= ratio.high for ratio in found]) <= 0.98
    best = 2 * 1.96 * np.std([ratio.estimate for ratio in found])
    assert np.mean([ratio.high - ratio.low for ratio in found]) <= 1.08 * best


def test_ratios_without_any_noise_have_a_mean_without_any():
    mean = mean_ratio([Ratio(1.2, 1.2, 1.2, 8)] * 3)
    assert (mean.estimate, mean.low, mean.high) == pytest.approx((1.2, 1.2, 1.2))


def test_wilson_by_hand():
    share = wilson(8, 10)
    z = 1.959964
    middle = (0.8 + z**2 / 20) / (1 + z**2 / 10)
    half = z * np.sqrt(0.8 * 0.2 / 10 + z**2 / 400) / (1 + z**2 / 10)
    assert (share.estimate, share.n) == (0.8, 10)
    assert (share.low, share.high) == pytest.approx((middle - half, middle + half))


def test_all_of_a_few_is_not_all_of_everything():
    assert wilson(10, 10).low == pytest.approx(0.7225, abs=1e-4)
    assert wilson(0, 10).high == pytest.approx(0.2775, abs=1e-4)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_what_is_no_share_is_an_error(successes, n):
    with pytest.raises(ValueError, match="is no share"):
        wilson(successes, n)
