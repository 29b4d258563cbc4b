"""The confidence sequence: its definition, and its coverage under continuous monitoring."""

import time

import numpy as np
import pytest

from adakd.stats import always_valid, confidence_sequence
from adakd.stats.confidence_sequence import GRID


def literal_capital(points, mean, level=0.05):
    """Return the highest hedged capital against a mean, step by step as the paper writes it."""
    above = below = highest = 1.0
    total, squares, variance = 0.5, 0.25, 0.25
    for t, x in enumerate(points, start=1):
        bet = np.sqrt(2 * np.log(2 / level) / (variance * t * np.log(t + 1)))
        above *= 1 + min(bet, 0.5 / mean) * (x - mean)
        below *= 1 - min(bet, 0.5 / (1 - mean)) * (x - mean)
        highest = max(highest, above, below)
        total += x
        squares += (x - total / (t + 1)) ** 2
        variance = squares / (t + 1)
    return highest / 2


@pytest.mark.parametrize("chance", [0.1, 0.5, 0.97])
def test_bounds_are_where_the_literal_capital_says(chance):
    points = np.random.default_rng(0).random(150) < chance
    found = always_valid(points)
    step = 1 / GRID
    if found.low > 0:
        assert literal_capital(points, found.low) >= 20
    if found.high < 1:
        assert literal_capital(points, found.high) >= 20
    assert literal_capital(points, found.low + step) < 20
    assert literal_capital(points, found.high - step) < 20


def test_bounds_never_widen_and_hold_the_mean():
    points = np.random.default_rng(1).beta(2, 1, 2500)
    lower, upper = confidence_sequence(points)
    assert len(lower) == len(upper) == 2500
    assert (np.diff(lower) >= 0).all()
    assert (np.diff(upper) <= 0).all()
    assert (lower[0], upper[0]) == (0, 1)
    found = always_valid(points)
    assert (found.low, found.high, found.n) == (lower[-1], upper[-1], 2500)
    assert found.low < 2 / 3 < found.high
    assert found.high - found.low < 0.05


def test_early_bounds_are_those_of_the_whole_sequence():
    points = np.random.default_rng(2).random(1300)
    lower, upper = confidence_sequence(points)
    early = confidence_sequence(points[:700])
    assert (early[0] == lower[:700]).all()
    assert (early[1] == upper[:700]).all()


def test_mirrored_points_have_mirrored_bounds():
    points = np.random.default_rng(3).beta(1, 3, 200)
    lower, upper = confidence_sequence(points)
    mirrored_lower, mirrored_upper = confidence_sequence(1 - points)
    assert mirrored_lower == pytest.approx(1 - upper)
    assert mirrored_upper == pytest.approx(1 - lower)


def test_bounds_stay_where_no_mean_is_left():
    lower, upper = confidence_sequence(np.repeat([1.0, 0.0], 400))
    assert (lower <= upper).all()


def test_no_points():
    assert [len(bounds) for bounds in confidence_sequence([])] == [0, 0]
    with pytest.raises(ValueError, match="from 0 to 1"):
        always_valid([])


@pytest.mark.parametrize("point", [-0.1, 1.1, np.nan])
def test_points_must_be_bounded(point):
    with pytest.raises(ValueError, match="from 0 to 1"):
        confidence_sequence([0.5, point])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["votes", "graded"])
def test_bounds_cover_at_all_points_together(kind):
    """The 95 % interval of a fixed sample would have excluded the truth four times in ten."""
    rng = np.random.default_rng(4)
    truth, sequences = 0.35, 300
    missed = 0
    for _ in range(sequences):
        points = rng.random(400) < truth if kind == "votes" else rng.beta(0.7, 1.3, 400)
        found = always_valid(points)
        missed += not found.low <= truth <= found.high
    assert missed / sequences <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sequences)


def test_ten_thousand_points_are_fast():
    points = np.random.default_rng(5).random(10_000)
    start = time.perf_counter()
    always_valid(points)
    assert time.perf_counter() - start < 5
