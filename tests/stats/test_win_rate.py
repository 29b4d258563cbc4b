"""Win rates: hand-worked numbers, laws, and the coverage of their intervals."""

from dataclasses import replace

import numpy as np
import pytest

from adakd.stats import JointErrors, PairResult, prompt_pulls, step_down, win_rate

RATES = ("overall", "decisive", "soft", "controlled")


def results(outcomes, seeds=1):
    """Return one prompt per outcome, the same for every seed."""
    return [
        PairResult(prompt, seed, what, None, None)
        for prompt, what in enumerate(outcomes)
        for seed in range(seeds)
    ]


def swapped(pair):
    """Return the pair with candidate and opponent swapped."""
    return replace(
        pair,
        outcome={"win": "loss", "loss": "win"}.get(pair.outcome, pair.outcome),
        points=None if pair.points is None else 1 - pair.points,
        length_difference=None if pair.length_difference is None else -pair.length_difference,
    )


def coverage(judge, truth, samples):
    """Return how often each interval contains the population rate."""
    found = [win_rate(pairs, replicates=400) for pairs in samples]
    return {
        name: np.mean([getattr(f, name).low <= truth[name] <= getattr(f, name).high for f in found])
        for name in RATES
    }


def true_rates(judge):
    population = win_rate(judge.population(np.random.default_rng(99)), replicates=1)
    return {name: getattr(population, name).estimate for name in RATES}


def test_by_hand():
    said = ["win"] * 5 + ["loss"] * 2 + ["tie", "flip", "identical"] + ["failed"] * 2
    rate = win_rate(results(said))
    assert rate.counts == {
        "win": 5, "loss": 2, "tie": 1, "flip": 1, "failed": 2, "identical": 1,
    }  # fmt: skip
    assert (rate.decisive.estimate, rate.decisive.n) == (pytest.approx(5 / 7), 7)
    assert (rate.overall.estimate, rate.overall.n) == (pytest.approx(6.5 / 10), 10)
    assert rate.bounds == pytest.approx((6.5 / 12, 8.5 / 12))
    assert (rate.prompts, rate.seeds) == (10, 1)
    assert rate.soft is rate.controlled is rate.length_gap is None


def test_graded_points_and_lengths_by_hand():
    pairs = [
        PairResult(1, 0, "win", 0.75, 30.0),
        PairResult(2, 0, "flip", 0.5, None),
        PairResult(3, 0, "win", None, -6.0),
        PairResult(4, 0, "failed", 1.0, 900.0),
    ]
    rate = win_rate(pairs)
    assert (rate.soft.estimate, rate.soft.n) == (pytest.approx(0.625), 2)
    assert rate.length_gap == pytest.approx(12)


def test_identical_answers_alone_grade_nothing():
    hard = [PairResult(1, 0, "win", None, 3.0), PairResult(2, 0, "identical", 0.5, 0.0)]
    assert win_rate(hard).soft is None
    graded = [replace(hard[0], points=0.9), hard[1]]
    assert win_rate(graded).soft.estimate == pytest.approx(0.7)


@pytest.mark.parametrize("pairs", [[], results(["failed", "failed"])])
def test_failures_alone_are_no_win_rate(pairs):
    rate = win_rate(pairs)
    assert rate.overall is rate.decisive is rate.soft is rate.controlled is None
    assert rate.bounds == (0, 1)
    assert (rate.p_value, rate.prompts, rate.seeds) == (1, 0, 0)


def test_without_decisions_there_is_no_decisive_rate():
    rate = win_rate(results(["tie", "flip"] * 10))
    assert rate.decisive is None
    assert rate.overall.low < rate.overall.estimate == 0.5 < rate.overall.high
    assert rate.p_value == 1


def test_one_prompt_leaves_everything_open():
    rate = win_rate(results(["win"], seeds=20))
    assert (rate.overall.low, rate.overall.high, rate.p_value) == (0, 1, 1)


def test_a_few_wins_are_not_certainty():
    """Resampling cannot tell that a fourth prompt might be lost."""
    rate = win_rate(results(["win"] * 3, seeds=4))
    assert rate.overall.estimate == rate.overall.high == 1
    assert rate.overall.low == pytest.approx(0.4385, abs=1e-4)
    assert rate.p_value == 0.25


def test_the_order_of_the_pairs_does_not_matter():
    rng = np.random.default_rng(8)
    outcomes = rng.choice(["win", "loss", "tie", "failed"], (40, 3))
    pairs = [
        PairResult(("set", f"item-{i}"), seed, str(outcomes[i, seed]), rng.random(), rng.normal())
        for i, seed in np.ndindex(40, 3)
    ]
    turned = [pairs[number] for number in rng.permutation(len(pairs))]
    assert win_rate(turned) == win_rate(pairs)
    (pulls, error), (its_pulls, its_error) = prompt_pulls(pairs), prompt_pulls(turned)
    assert (pulls, error) == (its_pulls, its_error)
    assert sum(pulls.values()) == pytest.approx(0)


def test_a_clear_rate_is_found_in_a_family_of_any_size():
    """The replicates alone never give less than 0.0005, too much for a family of 101."""
    said = np.random.default_rng(9).permutation(["win"] * 160 + ["loss"] * 40)
    p = win_rate(results(map(str, said))).p_value
    assert p < 1e-8
    pulls = np.random.default_rng(10).normal(size=(201, 200)) / 200
    pulls -= pulls.mean(1, keepdims=True)
    errors = JointErrors(pulls, np.zeros(200, np.intp), np.full(201, 200**-0.5), draws=1000)
    assert step_down([p, *[0.5] * 200], errors).p_values[0] < 0.01


def test_rarely_decisive_pairs_have_an_interval():
    rate = win_rate(results(["win", "loss", "win"] + ["tie"] * 40))
    assert 0 <= rate.decisive.low < 2 / 3 < rate.decisive.high <= 1


def test_prompts_are_resampled_and_not_their_copies():
    said = ["win" if number % 3 else "loss" for number in range(60)]
    alone, copied = win_rate(results(said)), win_rate(results(said, seeds=5))
    again = win_rate([pair for pair in results(said) for _ in range(5)])
    for other in (copied, again):
        assert other.overall.low == pytest.approx(alone.overall.low, abs=1 / 50)  # a prompt: 1 / 60
        assert other.p_value == pytest.approx(alone.p_value, abs=0.01)
    assert (copied.prompts, copied.seeds, again.seeds) == (60, 5, 1)


def test_seeds_that_disagree_widen_the_interval():
    one_seed = [PairResult(n, 0, "win" if n % 2 else "tie", None, None) for n in range(90)]
    apart = [replace(pair, seed=n // 30, prompt=n % 30) for n, pair in enumerate(one_seed)]
    apart = [replace(pair, outcome="loss") if pair.seed == 0 else pair for pair in apart]
    pooled = [replace(pair, seed=0, prompt=n) for n, pair in enumerate(apart)]
    wide, narrow = win_rate(apart).overall, win_rate(pooled).overall
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_same_pairs_same_numbers(judge):
    pairs = judge().pairs(np.random.default_rng(1), 40, 3)
    assert win_rate(pairs) == win_rate(pairs)


def test_swapping_the_sides_mirrors_every_rate(judge):
    pairs = judge().pairs(np.random.default_rng(2), 80, 3)
    rate, mirror = win_rate(pairs), win_rate(map(swapped, pairs))
    for name in RATES:
        one, other = getattr(rate, name), getattr(mirror, name)
        assert other.estimate == pytest.approx(1 - one.estimate, abs=1e-12)
        assert (other.low, other.high) == pytest.approx((1 - one.high, 1 - one.low))
    assert mirror.length_gap == pytest.approx(-rate.length_gap)
    assert mirror.bounds == pytest.approx((1 - rate.bounds[1], 1 - rate.bounds[0]))
    assert mirror.p_value == pytest.approx(rate.p_value, abs=0.002)


def test_failures_change_the_bounds_and_nothing_else(judge):
    pairs = judge().pairs(np.random.default_rng(3), 50, 2)
    judged = [pair for pair in pairs if pair.outcome != "failed"]
    with_failures, without = win_rate(pairs), win_rate(judged)
    assert len(judged) < len(pairs)
    assert without.bounds == (pytest.approx(without.overall.estimate),) * 2
    assert with_failures.bounds[0] < without.overall.estimate < with_failures.bounds[1]
    assert replace(with_failures, counts=without.counts, bounds=without.bounds) == without


def test_intervals_stay_between_0_and_1():
    pairs = [
        PairResult(n % 12, n // 12, "win" if n > 2 else "loss", n / 50, n % 7) for n in range(36)
    ]
    rate = win_rate(pairs)
    assert all(0 <= getattr(rate, name).low <= getattr(rate, name).high <= 1 for name in RATES)


def test_a_liking_for_the_first_place_is_no_preference(judge):
    biased = judge(better=0, of_prompts=0, rest=0, length=0, place=3.0)
    rate = win_rate(biased.pairs(np.random.default_rng(4), 300))
    assert rate.counts["flip"] > 200
    assert rate.soft.estimate == pytest.approx(0.5)
    assert rate.overall.low < 0.5 < rate.overall.high


@pytest.mark.parametrize("length", [2.0, 50.0])
def test_length_control_undoes_a_liking_for_length(judge, length):
    vain = judge(better=0, of_prompts=0, rest=0, place=0, length=length, longer=40)
    rate = win_rate(vain.pairs(np.random.default_rng(5), 400))
    assert rate.overall.low > 0.6
    assert rate.controlled.low < 0.5 < rate.controlled.high
    assert rate.length_gap == pytest.approx(40, abs=6)


def test_length_control_leaves_a_judge_alone_that_has_no_eye_for_length(judge):
    rate = win_rate(judge(length=0, longer=0).pairs(np.random.default_rng(6), 500))
    assert rate.controlled.estimate == pytest.approx(rate.overall.estimate, abs=0.01)


@pytest.mark.slow
def test_intervals_of_one_training_cover(judge):
    """The overall, decisive, soft and length-controlled rates of the population."""
    biased, rng = judge(), np.random.default_rng(7)
    samples = (biased.pairs(rng, prompts=150) for _ in range(600))
    for name, share in coverage(biased, true_rates(biased), samples).items():
        assert 0.92 <= share <= 0.98, (name, share)


@pytest.mark.slow
def test_intervals_of_crossed_trainings_cover(judge):
    """The same prompts for each of five trainings, which differ."""
    biased, rng = judge(of_seeds=0.4), np.random.default_rng(8)
    samples = (biased.pairs(rng, prompts=100, seeds=5) for _ in range(400))
    for name, share in coverage(biased, true_rates(biased), samples).items():
        assert 0.92 <= share <= 0.98, (name, share)


@pytest.mark.slow
def test_pairs_resampled_as_if_they_were_independent_would_not_cover(judge):
    """With ten answers per prompt such an interval misses most of the variance."""
    biased, rng = judge(of_prompts=1.5), np.random.default_rng(9)
    truth = true_rates(biased)["soft"]
    hits = []
    for _ in range(150):
        pairs = biased.pairs(rng, prompts=40, seeds=10)
        by_prompt = [replace(pair, seed=0) for pair in pairs]
        by_pair = [replace(pair, prompt=number) for number, pair in enumerate(by_prompt)]
        ratios = [win_rate(each, replicates=300).soft for each in (by_prompt, by_pair)]
        hits.append([ratio.low <= truth <= ratio.high for ratio in ratios])
    right, naive = np.mean(hits, axis=0)
    assert naive < 0.8 < 0.9 <= right


@pytest.mark.parametrize(("outcome", "rate"), [("win", 1.0), ("flip", 0.5), ("loss", 0.0)])
def test_prompts_that_all_came_out_the_same_leave_room_for_others(outcome, rate) -> None:
    widths = []
    for prompts in (6, 60):
        pairs = [PairResult(prompt, 1, outcome, None, None) for prompt in range(prompts)]
        overall = win_rate(pairs, replicates=200).overall
        assert overall is not None
        assert overall.low <= overall.estimate == rate <= overall.high
        widths.append(overall.high - overall.low)
    assert 0 < widths[1] < widths[0] < 1
