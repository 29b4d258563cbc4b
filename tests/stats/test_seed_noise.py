"""The distance of two trainings: by hand, and bands and intervals on simulated trainings."""

import numpy as np
import pytest

from adakd.stats import distances, seed_noise


def trainings(rng, methods, seeds, sd=2.0):
    """Return scores of plain methods by seed: each has a level of its own, which is no noise."""
    return [
        distances(dict(enumerate(rng.normal(30 + 5 * method, sd, seeds))))
        for method in range(methods)
    ]


def test_the_mean_square_over_all_pairs_is_twice_the_variance():
    values = {1: 3.0, 2: 7.0, 5: 4.0}
    noise = seed_noise([distances(values)])
    assert noise is not None
    assert noise.distance**2 == pytest.approx(2 * np.var(list(values.values()), ddof=1))
    assert (noise.pairs, noise.df) == (3, 2)
    assert noise.low < noise.distance < noise.high


def test_methods_count_by_their_degrees_of_freedom():
    two, four = {1: 0.0, 2: 2.0}, {1: 0.0, 2: 2.0, 3: 4.0, 4: 6.0}
    noise = seed_noise([distances(two), distances(four), {}])
    assert noise is not None
    squares = 2 * np.var([0, 2], ddof=1), 2 * np.var([0, 2, 4, 6], ddof=1)
    assert noise.distance**2 == pytest.approx((squares[0] + 3 * squares[1]) / 4)
    assert (noise.pairs, noise.df) == (7, 4)


def test_a_band_shrinks_with_the_trainings_of_a_mean_and_with_a_fixed_side():
    noise = seed_noise([distances({1: 0.0, 2: 2.0, 3: 5.0})])
    assert noise is not None
    assert noise.band(1) == pytest.approx(noise.band(4) * 2)
    assert noise.band(3, sides=1) == pytest.approx(noise.band(3) / np.sqrt(2))


@pytest.mark.parametrize("methods", [[], [{}], [{(1, 2): 0.0}]])
def test_without_variation_there_is_no_band(methods):
    assert seed_noise(methods) is None


@pytest.mark.parametrize(("methods", "seeds"), [(1, 2), (1, 3), (1, 5), (6, 3)])
def test_chance_alone_leaves_the_band_once_in_twenty_runs(methods, seeds):
    """The band of one training left a third of such gains outside."""
    rng, runs = np.random.default_rng(seeds), 1500
    outside = held = 0
    for _ in range(runs):
        noise = seed_noise(trainings(rng, methods, seeds))
        gain = rng.normal(0, 2.0 * np.sqrt(2 / seeds))
        outside += abs(gain) > noise.band(seeds)
        held += noise.low <= 2.0 * np.sqrt(2) <= noise.high
    assert outside / runs == pytest.approx(0.05, abs=0.017)
    assert held / runs == pytest.approx(0.95, abs=0.017)
