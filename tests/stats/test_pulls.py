"""Pulls: intervals that cover, and never have no width."""

import numpy as np
import pytest

from adakd.stats import wilson
from adakd.stats.pulls import lean, share_difference


@pytest.mark.parametrize("shares", [(0.02, 0.02), (0.2, 0.05), (0.5, 0.4), (0.0, 0.0)])
@pytest.mark.parametrize("n", [20, 175])
def test_the_interval_of_a_lean_covers(shares, n) -> None:
    chance, (first, second) = np.random.default_rng(1), shares
    draws = chance.choice([1, -1, 0], p=[first, second, 1 - first - second], size=(1000, n))
    found = [lean(draw) for draw in draws]
    covered = np.mean([one.low <= first - second <= one.high for one in found])
    assert covered >= 0.93
    assert all(one.high > one.low for one in found)


def test_the_ends_of_a_lean_stay_within_the_possible() -> None:
    found = lean([1.0] * 50)
    assert found.estimate == 1
    assert 0.85 < found.low < found.high <= 1
    turned = lean([-1.0] * 50)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_newcombes_interval_of_his_example() -> None:
    """56 of 70 against 48 of 80: table II, method 10, of the paper."""
    found = share_difference(wilson(56, 70), wilson(48, 80))
    assert found.estimate == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
