"""Judgings that stop early: never narrower than those that do not, and right under peeking."""

import numpy as np
import pytest

from adakd.stats import PairResult, Ratio, always_valid, stopped_rate, win_rate
from adakd.stats.confidence_sequence import confidence_sequence
from adakd.stats.early_stop import _of_seeds

OUTCOMES = {0.0: "loss", 0.5: "tie", 1.0: "win"}


def judged(rng, prompts, seeds, of_seeds):
    """Return the points of prompts x seeds; the true win rate over trainings is one half."""
    drawn, shift = rng.random((prompts, seeds)), rng.normal(0, of_seeds, seeds)
    return np.where(drawn < 0.35 + shift, 1.0, np.where(drawn > 0.65 + shift, 0.0, 0.5))


def results(points):
    return [
        PairResult(prompt, seed, OUTCOMES[points[prompt, seed]], None, None)
        for prompt, seed in np.ndindex(points.shape)
    ]


def of_seeds(points):
    prompts, seeds = (places.ravel() for places in np.indices(points.shape))
    return _of_seeds(points.ravel(), prompts, seeds)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_looking_never_narrows_the_interval(seeds):
    for number in range(6):
        rng = np.random.default_rng(number)
        points = judged(rng, 300, seeds, 0.06 * (number % 2))
        pairs, sequence = results(points), always_valid(points.mean(1))
        rate = win_rate(pairs, replicates=1000)
        found, p = stopped_rate(pairs, rate, sequence)
        assert found.low <= min(rate.overall.low, sequence.low)
        assert found.high >= max(rate.overall.high, sequence.high)
        of_fixed = stopped_rate(pairs, rate, sequence, is_trained=False)
        assert of_fixed == (found, 1 if found.low <= 0.5 <= found.high else rate.p_value)
        assert p == (of_fixed[1] if seeds > 1 else None)
        assert found.estimate == rate.overall.estimate


def test_the_part_of_the_seeds_by_hand():
    """Rates of .4 and .6 differ by far more than their noise: t with one df is 12.706."""
    points = np.zeros((1000, 2))
    points[:400, 0] = points[:600, 1] = 1
    spread = np.sqrt(2 * 0.1**2)
    assert of_seeds(points) == pytest.approx(12.706 * spread / np.sqrt(2), rel=1e-4)
    assert of_seeds(points[:, :1]) == 0


def test_trainings_that_came_out_alike_still_count_with_their_noise():
    points = np.zeros((100, 2))
    points[:50, 0] = points[50:, 1] = 1
    sigma = np.sqrt(200 * 0.25 / 100)
    assert of_seeds(points) == pytest.approx(12.706 * sigma / 10 / np.sqrt(2), rel=1e-4)


def test_nothing_judged_has_no_rate():
    pairs = [PairResult("a", 1, "failed", None, None)]
    assert stopped_rate(pairs, win_rate(pairs), Ratio(0.5, 0, 1, 0)) == (None, 1.0)


@pytest.mark.parametrize(("seeds", "of_seed"), [(2, 0.06), (3, 0.03), (3, 0.06)])
def test_words_are_right_however_often_one_looks(seeds, of_seed):
    """The sequence alone gave false words in .18 (3 points) and .45 (6 points) of such runs."""
    rng, runs, missed = np.random.default_rng(seeds), 30, 0
    for _ in range(runs):
        points = judged(rng, 400, seeds, of_seed)
        low, high = confidence_sequence(points.mean(1))
        looks = range(40, 401, 40)
        halves = {n: of_seeds(points[:n]) for n in looks}
        missed += any(not low[n - 1] - halves[n] <= 0.5 <= high[n - 1] + halves[n] for n in looks)
    assert missed <= 4  # of 30; at a rate of .05, more with probability .02
