"""The fit behind the length-controlled rate, next to scikit-learn's."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from adakd.stats.length_control import RIDGE, fit_logistic, length_controlled

RNG = np.random.default_rng(11)
POINTS = RNG.choice([0.0, 0.5, 1.0], 300)
LENGTHS = np.rint(RNG.normal(20, 40, 300) + 30 * POINTS)


def outside_fit(covariates, points, weights, **settings):
    """Fit fractional outcomes as two rows each: a win and a loss, weighted."""
    rows = np.concatenate([covariates, covariates])
    won = np.repeat([1, 0], len(points))
    parts = np.concatenate([weights * points, weights * (1 - points)])
    return LogisticRegression(tol=1e-10, max_iter=1000, **settings).fit(rows, won, parts)


def test_rate_matches_scikit_learn():
    x = np.tanh(LENGTHS / LENGTHS.std())[:, None]
    weights = RNG.integers(0, 4, (3, 300)).astype(float)
    found = length_controlled(POINTS, LENGTHS)(weights)
    expected = [outside_fit(x, POINTS, row, C=1e8).intercept_[0] for row in weights]
    assert found == pytest.approx(expit(expected), abs=1e-4)


def test_fit_matches_scikit_learn_with_the_same_ridge():
    x = np.tanh(LENGTHS / LENGTHS.std())
    theta, phi = fit_logistic(x, np.ones((1, 300)), POINTS[None])
    columns = np.stack([np.ones(300), x], axis=1)
    outside = outside_fit(columns, POINTS, np.ones(300), C=1 / RIDGE, fit_intercept=False)
    assert (theta[0], phi[0]) == pytest.approx(tuple(outside.coef_[0]), abs=1e-6)


@pytest.mark.parametrize("threshold", [-60, 0, 35])
def test_separated_outcomes_stay_finite(threshold):
    points = (threshold < LENGTHS).astype(float)
    weights = RNG.integers(0, 3, (50, 300)).astype(float)
    rates = length_controlled(points, LENGTHS)(weights)
    assert np.isfinite(rates).all()
    x = np.tanh(LENGTHS / LENGTHS.std())
    theta, phi = fit_logistic(x, weights, weights * points)
    missed = weights * (points - expit(theta[:, None] + phi[:, None] * x))
    assert missed.sum(1) == pytest.approx(RIDGE * theta, abs=1e-6)
    assert missed @ x == pytest.approx(RIDGE * phi, abs=1e-6)


def test_pairs_without_a_length_do_not_count():
    lengths = np.where(np.arange(300) < 100, np.nan, LENGTHS)
    everything = length_controlled(POINTS, lengths)(np.ones((1, 300)))
    known = length_controlled(POINTS[100:], LENGTHS[100:])(np.ones((1, 200)))
    assert everything == pytest.approx(known)


@pytest.mark.parametrize(
    ("points", "lengths"),
    [
        (POINTS[:9], LENGTHS[:9]),
        (POINTS, np.full(300, 5.0)),
        (POINTS, np.full(300, np.nan)),
        (np.ones(300), LENGTHS),
    ],
)
def test_nothing_to_control(points, lengths):
    assert length_controlled(points, lengths) is None


def test_a_replicate_without_lengths_has_no_rate():
    lengths = np.where(np.arange(300) < 100, np.nan, LENGTHS)
    weights = np.stack([np.arange(300) < 100, np.arange(300) >= 100]).astype(float)
    missing, known = length_controlled(POINTS, lengths)(weights)
    assert np.isnan(missing)
    assert 0 < known < 1
