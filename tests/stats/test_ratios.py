"""Ratios of medians, and shares of trials."""

import numpy as np
import pytest

from adakd.stats import ratio_of_medians, wilson

RNG = np.random.default_rng(7)


def test_ratio_of_medians():
    plain = np.array([1.0, 2.0, 4.0])
    ratio = ratio_of_medians(1.5 * plain, plain)
    assert (ratio.estimate, ratio.low, ratio.high, ratio.n) == (1.5, 1.5, 1.5, 3)


def test_ratio_interval_is_wide_where_pairs_differ():
    plain, slow = RNG.normal(1, 0.1, 30), RNG.normal(1.3, 0.1, 30)
    ratio = ratio_of_medians(slow, plain)
    assert 1.15 < ratio.low < ratio.estimate < ratio.high < 1.45


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
