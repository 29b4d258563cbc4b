"""Adjusted p-values: laws of the method, and the error rate of simulated families."""

import numpy as np
import pytest

from adakd.stats import JointErrors, item_pulls, paired_difference, step_down

NOISE = 0.009
"""Four standard errors of an adjusted p of 0.05."""


def holm(p_values):
    """Return the adjusted p-values of Holm's method, which knows no correlation."""
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(np.arange(len(order), 0, -1) * np.asarray(p_values)[order])
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def correlated(shared, rows, items=400, seed=0):
    """Return the joint errors of rows on the same items, with this correlation of any two."""
    rng = np.random.default_rng(seed)
    own, common = rng.normal(size=(rows, items)), rng.normal(size=items)
    values = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    return of(values)


def of(values):
    items = values.shape[1]
    pulls = (values - values.mean(1, keepdims=True)) / items
    return JointErrors(pulls, np.zeros(items, np.intp), values.std(1, ddof=1) / np.sqrt(items))


def test_independent_comparisons_are_adjusted_as_sidak_does():
    p = [0.001, 0.01, 0.04, 0.5]
    expected = [1 - (1 - one) ** (4 - rank) for rank, one in enumerate(p)]
    found = step_down(p, correlated(0.0, 4))
    assert found.p_values == pytest.approx(expected, abs=NOISE * 2)
    assert found.critical_p == pytest.approx(1 - 0.95**0.25, abs=0.002)


def test_comparisons_that_always_err_together_need_no_adjustment():
    found = step_down([0.03, 0.03, 0.04], correlated(1.0, 3))
    assert found.p_values == pytest.approx([0.03, 0.03, 0.04], abs=NOISE)
    assert found.critical_p == pytest.approx(0.05, abs=NOISE)


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_never_below_the_p_alone_nor_above_holm(shared):
    rng = np.random.default_rng(3)
    p = rng.random(10) ** 3
    adjusted = step_down(p, correlated(shared, 10)).p_values
    assert all(a >= alone for a, alone in zip(adjusted, p, strict=True))
    assert all(a <= h + NOISE for a, h in zip(adjusted, holm(p), strict=True))


def test_order_of_the_comparisons_does_not_matter():
    rng = np.random.default_rng(4)
    p, turn = rng.random(8) ** 2, rng.permutation(8)
    values = rng.normal(size=(8, 40))
    turned = step_down(p[turn], of(values[turn])).p_values
    assert turned == pytest.approx(np.array(step_down(p, of(values)).p_values)[turn], abs=1e-6)


@pytest.mark.parametrize("rows", [101, 300])
def test_no_family_is_so_large_that_nothing_can_be_found(rows):
    """With 4,000 replicates and Holm no row of a family of 101 could ever be found."""
    difference = paired_difference(
        np.random.default_rng(0).normal(80, 1, (200, 1)), np.zeros((200, 1))
    )
    found = step_down([difference.p_value, *[0.5] * (rows - 1)], correlated(0.0, rows, 200))
    assert found.p_values[0] < 0.001
    assert 0.5 < found.critical_p * rows / 0.05 < 2


def test_a_family_of_one_and_an_empty_one_need_no_adjustment():
    none = step_down([], JointErrors(np.empty((0, 0)), np.empty(0, np.intp), np.empty(0)))
    assert (none.p_values, none.critical_p) == ((), 0.05)
    one = step_down([0.04], correlated(0.0, 1))
    assert (one.p_values, one.critical_p) == ((0.04,), 0.05)


def family(differences):
    """Return the p-values of rows of differences of items x seeds, alone and in their family."""
    zeros = np.zeros_like(differences[0])
    found = [paired_difference(values, zeros) for values in differences]
    pulls = np.array([item_pulls([(values, zeros)])[0] for values in differences])
    errors = np.array([difference.law.error for difference in found])
    alone = [difference.p_value for difference in found]
    joint = JointErrors(pulls, np.zeros(len(zeros), np.intp), errors, draws=500)
    return alone, step_down(alone, joint)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("kind", ["one plain arm", "skewed"])
def test_a_family_without_effects_gets_a_verdict_in_one_of_twenty_runs(seeds, kind):
    """A short version of ``tests/bench/error_rates.py``."""
    rng, runs, rows, wrong = np.random.default_rng(seeds), 40, 8, 0
    for _ in range(runs):
        if kind == "skewed":
            differences = rng.exponential(1, (rows, 60, seeds)) - 1
        else:
            differences = rng.normal(0, 1, (rows, 60, seeds)) - rng.normal(0, 1, (60, seeds))
        wrong += min(family(differences)[1].p_values) < 0.05
    assert wrong <= 0.05 * runs + 2.6 * np.sqrt(0.05 * 0.95 * runs)


def test_skewed_rows_need_more_than_normal_ones():
    rng = np.random.default_rng(6)
    normal = family(rng.normal(size=(8, 60, 1)))[1].critical_p
    skewed = family(rng.exponential(size=(8, 60, 1)) - 1)[1].critical_p
    assert skewed < normal / 2
