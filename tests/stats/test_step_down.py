"""Adjusted p-values: laws of the method, and the error rate of simulated families."""

import numpy as np
import pytest

from adakd.stats import correlations, critical_p, item_pulls, paired_difference, step_down

NOISE = 0.006
"""Four standard errors of an adjusted p of 0.05."""


def holm(p_values):
    """Return the adjusted p-values of Holm's method, which knows no correlation."""
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(np.arange(len(order), 0, -1) * np.asarray(p_values)[order])
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def test_independent_comparisons_are_adjusted_as_sidak_does():
    p = [0.001, 0.01, 0.04, 0.5]
    expected = [1 - (1 - one) ** (4 - rank) for rank, one in enumerate(p)]
    assert step_down(p, np.eye(4)) == pytest.approx(expected, abs=NOISE * 2)


def test_comparisons_that_always_err_together_need_no_adjustment():
    assert step_down([0.03, 0.03, 0.04], np.ones((3, 3))) == pytest.approx(
        [0.03, 0.03, 0.04], abs=NOISE
    )
    assert critical_p(np.ones((3, 3))) == pytest.approx(0.05, abs=NOISE)


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_never_below_the_p_alone_nor_above_holm(shared):
    rng = np.random.default_rng(3)
    correlation = np.full((10, 10), shared) + (1 - shared) * np.eye(10)
    p = rng.random(10) ** 3
    adjusted = step_down(p, correlation)
    assert all(a >= alone for a, alone in zip(adjusted, p, strict=True))
    assert all(a <= h + NOISE for a, h in zip(adjusted, holm(p), strict=True))


def test_order_of_the_comparisons_does_not_matter():
    rng = np.random.default_rng(4)
    p, turn = rng.random(8) ** 2, rng.permutation(8)
    correlation = correlations(rng.normal(size=(8, 40)), np.full(8, 6.5))
    turned = step_down(p[turn], correlation[np.ix_(turn, turn)])
    assert turned == pytest.approx(np.array(step_down(p, correlation))[turn], abs=NOISE * 2)


@pytest.mark.parametrize("rows", [101, 300])
def test_no_family_is_so_large_that_nothing_can_be_found(rows):
    """With 4,000 replicates and Holm no row of a family of 101 could ever be found."""
    difference = paired_difference(
        np.random.default_rng(0).normal(80, 1, (200, 1)), np.zeros((200, 1))
    )
    adjusted = step_down([difference.p_value, *[0.5] * (rows - 1)], np.eye(rows))
    assert adjusted[0] < 0.001
    assert 0.5 < critical_p(np.eye(rows)) * rows / 0.05 < 2


def test_a_family_of_one_and_an_empty_one():
    assert step_down([], np.empty((0, 0))) == []
    assert step_down([0.04], np.eye(1)) == pytest.approx([0.04], abs=NOISE)
    assert critical_p(np.eye(1)) == 0.05


def test_rows_over_one_plain_arm_are_correlated_by_half():
    rng = np.random.default_rng(5)
    plain = rng.normal(size=(3000, 1))
    arms = [rng.normal(size=(3000, 1)) for _ in range(3)]
    found = [paired_difference(arm, plain) for arm in arms]
    pulls = [item_pulls([(arm, plain)])[0] for arm in arms]
    matrix = correlations(pulls, [difference.law.error for difference in found])
    assert np.diag(matrix) == pytest.approx(1)
    assert matrix[np.triu_indices(3, 1)] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_family_without_effects_gets_a_verdict_in_one_of_twenty_runs(seeds):
    """A short version of ``tests/bench/error_rates.py``."""
    rng, runs, rows, wrong = np.random.default_rng(seeds), 50, 8, 0
    for _ in range(runs):
        plain = rng.normal(0, 1, (60, seeds))
        arms = [rng.normal(0, 1, (60, seeds)) for _ in range(rows)]
        found = [paired_difference(arm, plain) for arm in arms]
        pulls = [item_pulls([(arm, plain)])[0] for arm in arms]
        errors = correlations(pulls, [difference.law.error for difference in found])
        wrong += min(step_down([d.p_value for d in found], errors)) < 0.05
    assert wrong <= 0.05 * runs + 2.6 * np.sqrt(0.05 * 0.95 * runs)
