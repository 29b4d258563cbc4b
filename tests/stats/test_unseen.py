"""Items that all came out alike still have an interval, and few that differ one that covers."""

import numpy as np
import pytest

from adakd.stats import allow_for_unseen, paired_difference, wilson


def difference(values, most=100.0):
    drawn = np.asarray(values, float).reshape(len(values), -1)
    return allow_for_unseen(paired_difference(drawn, np.zeros_like(drawn)), most)


@pytest.mark.parametrize("items", [2, 30, 500])
def test_items_that_came_out_alike_have_the_interval_of_none_seen(items):
    found = difference(np.zeros(items))
    share = wilson(0, items).high
    assert (found.estimate, found.low, found.high) == (0, -100 * share, 100 * share)
    assert found.p_value == 1


def test_a_difference_that_is_the_same_on_every_item():
    few, many = difference(np.full((5, 2), 2.0)), difference(np.full((400, 2), 2.0))
    assert few.low < 0 < few.high
    assert few.p_value == 1
    assert 0 < many.low < many.estimate < many.high < 100
    assert many.p_value < 1e-6


def test_a_metric_without_a_largest_difference_has_no_interval_there():
    found = difference(np.zeros(30), most=np.inf)
    assert np.isnan([found.low, found.high]).all()
    assert found.p_value == 1


def test_items_that_vary_and_single_items_are_left_alone():
    for values in (np.eye(30)[0], [3.0]):
        drawn = np.asarray(values, float)[:, None]
        plain = paired_difference(drawn, np.zeros_like(drawn))
        assert str(difference(values)) == str(plain)  # NaN is not equal to itself


@pytest.mark.parametrize("seed_of_draws", range(3))
@pytest.mark.parametrize(("items", "share"), [(30, 0.03), (60, 0.05), (60, 0.2)])
def test_few_items_that_differ_are_covered(items, share, seed_of_draws):
    """One seed, items right or wrong; without this a third of the first covered nothing but 0."""
    rng, runs, covered = np.random.default_rng(seed_of_draws), 150, 0
    for _ in range(runs):
        drawn = rng.choice([-100.0, 100.0], items, p=[0.1, 0.9])
        found = difference(np.where(rng.random(items) < share, drawn, 0.0))
        covered += found.low <= 80 * share <= found.high
    assert covered / runs >= 0.9  # 0.94 or more in the long run
