"""What a design can find: against simulated runs, and the laws that more items and seeds obey."""

import numpy as np
import pytest

from adakd.stats import SEEDS, Spread, effective_items, paired_difference, spread_of

SPREAD = Spread(items=8.0, seeds=1.0, noise=12.0)


def run(rng, spread, items, seeds, gain):
    return (
        gain
        + rng.normal(0, spread.items, (items, 1))
        + rng.normal(0, spread.seeds or 0.0, (1, seeds))
        + rng.normal(0, spread.noise, (items, seeds))
    )


@pytest.mark.parametrize(("seeds", "comparisons"), [(1, 1), (1, 8), (3, 1), (3, 4), (5, 8)])
def test_four_of_five_runs_find_the_detectable_difference(seeds, comparisons):
    spread = SPREAD if seeds > 1 else Spread(SPREAD.items, None, SPREAD.noise)
    gain = spread.detectable(150, seeds, comparisons)
    rng, level = np.random.default_rng(seeds), 1 - 0.95 ** (1 / comparisons)
    found = [
        paired_difference(values, np.zeros_like(values)).p_value < level
        for values in (run(rng, spread, 150, seeds, gain) for _ in range(250))
    ]
    assert 0.72 <= np.mean(found) <= 0.88


def test_more_items_seeds_and_fewer_comparisons_find_more():
    by_seeds = [SPREAD.detectable(200, seeds) for seeds in SEEDS[1:]]
    assert by_seeds == sorted(by_seeds, reverse=True)
    assert SPREAD.detectable(400, 3) < SPREAD.detectable(100, 3)
    assert SPREAD.detectable(200, 3, 1) < SPREAD.detectable(200, 3, 28)


def test_with_one_seed_and_many_items_it_is_the_normal_formula():
    found = Spread(items=10.0, seeds=None).detectable(10_000, 1)
    assert found == pytest.approx((1.96 + 0.8416) * 10 / 100, rel=1e-3)


def test_the_spread_of_a_run_is_that_of_the_trainings_behind_it():
    rng, laws = np.random.default_rng(0), []
    for _ in range(150):
        values = run(rng, SPREAD, 100, 4, 0.0)
        laws.append((paired_difference(values, np.zeros_like(values)).law, 100.0, 4))
    found = spread_of(laws)
    assert found.items == pytest.approx(SPREAD.items, rel=0.05)
    assert found.noise == pytest.approx(SPREAD.noise, rel=0.05)
    assert found.seeds == pytest.approx(SPREAD.seeds, rel=0.25)


def test_one_seed_tells_nothing_of_the_seeds():
    values = run(np.random.default_rng(0), SPREAD, 2000, 1, 0.0)
    found = spread_of([(paired_difference(values, np.zeros_like(values)).law, 2000.0, 1)])
    assert (found.seeds, found.noise) == (None, 0)
    assert found.items == pytest.approx(np.hypot(8, 12), rel=0.05)
    with pytest.raises(ValueError, match="needs differences"):
        spread_of([])


def test_sets_of_one_size_are_as_many_items_as_they_have():
    assert effective_items([200]) == pytest.approx(200)
    assert effective_items([100, 100]) == pytest.approx(200)
    assert effective_items([10, 1000]) < 40
