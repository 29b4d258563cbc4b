"""The law of a mean over items and seeds: against Student's t, and by simulated runs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t

from adakd.stats import paired_difference
from adakd.stats.error_law import ErrorLaw, kurtosis_df


@pytest.mark.parametrize("df", [1, 2, 4, 15, 60])
@pytest.mark.parametrize("x", [0.3, 2.0, 5.0])
def test_a_single_source_of_error_is_students_t(df, x):
    expected = pytest.approx(2 * t.sf(x, df), rel=5e-3)
    assert ErrorLaw(items=1.0, items_df=df).p_value(x) == expected
    seeds_alone = ErrorLaw(items=0.0, items_df=50, seeds=1.0, seeds_df=df)
    assert seeds_alone.p_value(-x) == expected


@pytest.mark.parametrize("p", [0.05, 0.01, 1e-4, 1e-8])
def test_half_width_is_where_the_p_value_is_the_level(p):
    for law in (ErrorLaw(1.3, 59), ErrorLaw(1.3, 59, 0.7, 2, 0.2), ErrorLaw(1.3, 59, 5.0, 1, 0.2)):
        assert law.p_value(law.half_width(p)) == pytest.approx(p, rel=1e-3)


def test_noise_of_single_observations_counts_once():
    twice = ErrorLaw(1.0, 1e6, seeds=1.0, seeds_df=10_000)
    assert twice.half_width() == pytest.approx(norm.isf(0.025) * np.sqrt(2), rel=1e-3)
    once = replace(twice, shared=1.0)
    assert once.half_width() == pytest.approx(norm.isf(0.025), rel=1e-2)
    assert once.error == pytest.approx(1)


def test_few_items_that_differ_have_few_degrees_of_freedom():
    rng = np.random.default_rng(0)
    assert 120 < kurtosis_df(rng.normal(size=200)) <= 199
    sparse = np.where(np.arange(60) < 12, rng.normal(size=60), 0.0)
    assert 3 < kurtosis_df(sparse) < 20
    assert kurtosis_df(np.zeros(60)) == 59


@pytest.mark.parametrize("df", [1, 2, 4])
def test_detectable_is_found_in_four_of_five_runs(df):
    """Runs with the variance of this law, each of which estimates that of its seeds anew."""
    rng, truth, critical = np.random.default_rng(df), ErrorLaw(1.0, 1e6, 0.8, df), 0.01
    found = rng.normal(0, truth.error, 400)
    runs = [replace(truth, seeds=0.8 * float(np.sqrt(rng.chisquare(df) / df))) for _ in range(400)]
    claimed = np.median([run.detectable(critical) for run in runs[:100]])
    share = np.mean(
        [run.p_value(claimed + error) < critical for run, error in zip(runs, found, strict=True)]
    )
    assert 0.7 < share < 0.9


def test_detectable_with_one_seed_by_hand():
    law = ErrorLaw(2.0, 1e6)
    assert law.detectable() == pytest.approx(2.0 * (norm.isf(0.025) + norm.isf(0.2)), rel=1e-3)
    strict = 2.0 * (norm.isf(0.0005) + norm.isf(0.2))
    assert law.detectable(0.001) == pytest.approx(strict, rel=1e-3)
    assert ErrorLaw(0.0, 5).detectable() == np.inf


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_noise_of_single_observations_does_not_widen_twice(seeds):
    """Where it is all there is, the interval covers, and is not far too wide."""
    rng = np.random.default_rng(seeds)
    data = [rng.normal(0, 1, (60, seeds)) for _ in range(150)]
    found = [paired_difference(values, np.zeros_like(values)) for values in data]
    assert np.mean([d.low <= 0 <= d.high for d in found]) > 0.93
