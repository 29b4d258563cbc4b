"""Joint draws of null p-values: marginals, correlation, skewness and draws without variation."""

import numpy as np
import pytest
from scipy.stats import kstest, spearmanr

from adakd.stats import JointErrors, paired_difference


def joint(differences, errors=None, sets=None):
    """Return the joint errors of rows of differences, on one set unless `sets` says otherwise."""
    values = np.asarray(differences, float)
    n = values.shape[1]
    pulls = (values - values.mean(1, keepdims=True)) / n
    own = values.std(1, ddof=1) / np.sqrt(n)
    return JointErrors(
        pulls,
        np.zeros(n, np.intp) if sets is None else sets,
        own if errors is None else errors,
    )


def drawn(errors):
    return np.concatenate([*errors.null_p_values()])


@pytest.mark.parametrize("more", [1.0, 1.5, 4.0])
def test_p_values_of_normal_differences_are_uniform(more):
    """Whatever the part of the seeds in the error."""
    values = np.random.default_rng(0).normal(size=(2, 300))
    own = values.std(1, ddof=1) / np.sqrt(300)
    p = drawn(joint(values, own * more))
    assert len(p) == JointErrors.draws
    assert all(kstest(column, "uniform").statistic < 0.02 for column in p.T)


def test_comparisons_err_together_by_the_part_of_their_items():
    values = np.tile(np.random.default_rng(1).normal(size=100), (2, 1))
    own = values.std(1, ddof=1) / 10
    same, half = drawn(joint(values)), drawn(joint(values, own * np.sqrt(2)))
    assert np.array_equal(same[:, 0], same[:, 1])
    assert 0.05 < spearmanr(*half.T).statistic < 0.4
    apart = drawn(joint(values, own * 100))
    assert abs(spearmanr(*apart.T).statistic) < 0.05


def test_skewed_differences_have_heavy_tails():
    """An exponential's quantiles: t leaves its 0.6 % tails about twice too often."""
    values = -np.log((np.arange(60) + 0.5) / 60)[None]
    assert 0.01 < (drawn(joint(values)) < 0.00625).mean() < 0.025


def test_a_draw_agrees_with_the_difference_of_the_same_items():
    """The first draw, item by item, as `paired_difference` has it."""
    values = np.random.default_rng(3).exponential(size=(1, 40))
    errors = joint(values)
    first = drawn(errors)[0, 0]
    generator = np.random.default_rng(20240)
    places = generator.integers(40, size=(JointErrors.draws, 40))[0]
    again = (values[0] - values[0].mean())[places]
    expected = paired_difference(again[:, None], np.zeros((40, 1))).p_value
    assert first == pytest.approx(expected, rel=0.01)


def test_items_are_drawn_within_their_set():
    """Two sets with means far apart, which is no variance of either."""
    rng = np.random.default_rng(4)
    parts = [rng.normal(size=(1, 50)), rng.normal(size=(1, 100))]
    pulls = np.concatenate([(x - x.mean()) / x.shape[1] / 2 for x in parts], axis=1)
    own = np.sqrt(sum(x.var(ddof=1) / x.shape[1] for x in parts)) / 2
    p = drawn(JointErrors(pulls, np.repeat([0, 1], [50, 100]), np.array([own])))
    assert kstest(p[:, 0], "uniform").statistic < 0.02


def test_draws_in_which_nothing_varies_say_nothing():
    """Of 60 items 2 differ: one draw in eight has neither, which is no large t."""
    values = np.zeros((1, 60))
    values[0, :2] = 10, 12
    p = drawn(joint(values))[:, 0]
    assert (p == 1).mean() == pytest.approx((58 / 60) ** 60, abs=0.02)
    assert (p < 0.01).mean() < 0.05


def test_a_comparison_without_any_variation_is_independent_of_the_others():
    values = np.random.default_rng(5).normal(size=(2, 50))
    values[1] = 3
    p = drawn(joint(values))
    assert kstest(p[:, 1], "uniform").statistic < 0.02
    assert abs(spearmanr(*p.T).statistic) < 0.05
