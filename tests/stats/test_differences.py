"""Hand-worked numbers, and the coverage of intervals on simulated data."""

import numpy as np
import pytest

from adakd.stats import conclusion, gap_closed, paired_difference, pooled_difference

RNG = np.random.default_rng(7)


def made_up(rng, items=60, seeds=3, of_items=0.3, of_seeds=0.3, rest=0.3):
    """Return differences without a true effect, varying by item, seed and residual."""
    return (
        rng.normal(0, of_items, (items, 1))
        + rng.normal(0, of_seeds, (1, seeds))
        + rng.normal(0, rest, (items, seeds))
    )


def test_estimate_is_the_mean_of_the_scored_pairs():
    on = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])
    off = np.array([[0.0, 1.0], [1.0, 9.0], [np.nan, 2.0]])
    difference = paired_difference(on, off)
    assert difference.estimate == pytest.approx((1 + 1 + 2 + 4) / 4)
    assert (difference.n_items, difference.n_seeds) == (3, 2)


def test_identical_arms_are_not_separable():
    scores = RNG.random((50, 3))
    difference = paired_difference(scores, scores)
    assert (difference.estimate, difference.low, difference.high) == (0, 0, 0)
    assert difference.p_value == 1
    assert conclusion(difference, difference.p_value) == "not separable"


def test_one_seed_has_an_item_interval_and_no_seed_error():
    on = RNG.normal(0.1, 1, (400, 1))
    difference = paired_difference(on, np.zeros((400, 1)))
    assert difference.se_seeds is None
    expected = on.std(ddof=1) / np.sqrt(400)
    assert difference.se_items == pytest.approx(expected, rel=0.05)
    assert difference.high - difference.low == pytest.approx(2 * 1.96 * expected, rel=0.08)
    assert difference.minimum_effect == pytest.approx(2.8 * expected, rel=0.08)


def test_seed_error_by_hand():
    difference = paired_difference([[1.0, 3.0], [1.0, 3.0]], np.zeros((2, 2)))
    assert difference.se_seeds == pytest.approx(np.sqrt(2) / np.sqrt(2))
    assert difference.se_items == 0


def test_a_single_item_has_no_interval():
    difference = paired_difference([[1.0, 1.0]], [[0.0, 0.0]])
    assert np.isnan(difference.low)
    assert conclusion(difference, difference.p_value) == "not separable"


def test_nothing_paired_is_an_error():
    with pytest.raises(ValueError, match="no item"):
        paired_difference([[np.nan, 1.0]], [[1.0, np.nan]])


def test_pooling_weighs_sets_equally_and_needs_their_common_seeds():
    small = (np.full((10, 2), 3.0), np.zeros((10, 2)))
    large = (np.full((90, 2), 1.0), np.zeros((90, 2)))
    assert pooled_difference([small, large]).estimate == pytest.approx(2)
    one_seed = (np.where([True, False], 3.0, np.full((10, 2), np.nan)), np.zeros((10, 2)))
    assert pooled_difference([one_seed, large]).n_seeds == 1


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
@pytest.mark.parametrize("rest", [0.1, 1.0])
def test_intervals_cover(seeds, rest):
    """Also if seeds vary more than items: plain resampling of 2 seeds covers 63 %."""
    rng = np.random.default_rng(seeds)
    of_seeds = 0.3 if seeds > 1 else 0.0
    data = [made_up(rng, seeds=seeds, of_seeds=of_seeds, rest=rest) for _ in range(90)]
    found = [paired_difference(values, np.zeros_like(values)) for values in data]
    covered = np.mean([d.low <= 0 <= d.high for d in found])
    assert covered >= 0.90
    separable = np.mean([d.p_value < 0.01 for d in found])
    assert separable <= 0.05


def test_p_value_agrees_with_the_interval():
    for shift in np.linspace(-0.3, 0.3, 25):
        values = made_up(np.random.default_rng(1), seeds=5, of_seeds=0.05) + shift
        difference = paired_difference(values, np.zeros_like(values))
        excluded = not difference.low <= 0 <= difference.high
        assert excluded == (difference.p_value < 0.05) or 0.045 < difference.p_value < 0.055


def test_same_data_same_numbers():
    values = made_up(np.random.default_rng(3))
    again = paired_difference(values, np.zeros_like(values))
    assert paired_difference(values, np.zeros_like(values)) == again


def test_gap_closed_is_a_share_of_a_gap_that_is_there():
    off = RNG.normal(10, 1, (80, 3))
    one_teacher = np.full((80, 1), off.mean() + 4)
    quarter = gap_closed([(off + 1, off, one_teacher)])
    assert quarter is not None
    assert quarter.estimate == pytest.approx(0.25)
    half = gap_closed([(off + 1, off, off + 2)])
    assert half is not None
    assert half.estimate == pytest.approx(0.5)
    assert (half.low, half.high) == pytest.approx((0.5, 0.5))
    noise = RNG.normal(0, 1, (80, 3))
    assert gap_closed([(off + 1, off, off + noise - noise.mean())]) is None


def test_the_interval_of_a_share_covers():
    rng, runs, covered = np.random.default_rng(8), 60, 0
    for _ in range(runs):
        off = rng.normal(10, 1, (60, 3))
        teacher = off[:, :1] + 2 + rng.normal(0, 0.5, (60, 1))
        found = gap_closed([(off + 1 + rng.normal(0, 1, (60, 3)), off, teacher)])
        assert found is not None
        covered += found.low <= 0.5 <= found.high
    assert covered / runs > 0.85
