"""What a difference is worth: intervals, adjusted p-values and win rates, in numpy and scipy.

Arms are compared on the same items and the same training seeds, so every function works on
*paired* values. Random numbers come from a seeded generator: the same records give the same
report.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adakd.results import Outcome

Array = NDArray[np.float64]
Word = Literal["better", "worse", "not separable"]

LEVEL = 0.05
"""Intervals cover 1 - LEVEL; words are given at LEVEL after Holm's adjustment."""
REPLICATES = 4000
"""Enough for p-values down to 0.0005, so that Holm can still separate among a hundred rows."""
POWER_FACTOR = 2.8
"""Standard errors that an effect must measure to be seen with 80 % power (1.96 + 0.84)."""


@dataclass(frozen=True)
class Difference:
    """A paired difference with its uncertainty, in the unit of the metric."""

    estimate: float
    low: float
    """Lower end of the 95 % interval; NaN where a single item cannot tell."""
    high: float
    p_value: float
    """Two-sided, from the same replicates as the interval; not adjusted."""
    se_items: float
    """Standard error from the choice of items alone."""
    se_seeds: float | None
    """Standard error from the training seeds alone; None with one seed."""
    minimum_effect: float
    """The smallest true difference that 80 % of such comparisons would separate from 0."""
    n_items: int
    n_seeds: int


@dataclass(frozen=True)
class Ratio:
    """A ratio or share with its 95 % interval and the number of units behind it."""

    estimate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class WinRate:
    """How often the candidate's answer was preferred, in shares of 1."""

    counts: Mapping[Outcome, int]
    decisive: Ratio | None
    """Wins over wins and losses; None without either."""
    overall: Ratio | None
    """Wins and half of the undecided over all pairs that were judged; None without any."""
    bounds: tuple[float, float]
    """The overall rate if every failure were a loss, and if every one were a win."""
    p_value: float
    """Two-sided, of the overall rate against one half."""


# --- paired differences ---------------------------------------------------------------------


def paired_difference(on: ArrayLike, off: ArrayLike) -> Difference:
    """Compare two arms on the same items and training seeds; see :func:`pooled_difference`."""
    return pooled_difference([(on, off)])


def pooled_difference(pairs: Sequence[tuple[ArrayLike, ArrayLike]]) -> Difference:
    """Compare two arms by the mean of their differences over one or more sets of items.

    Items (within each set) and training seeds (over all sets together) are resampled
    independently of each other. Two to five seeds resampled as they are give intervals that are
    far too narrow, so their part of each replicate is studentised: this keeps the error rate at
    every level, at the price of wide intervals where the seeds disagree. One seed is not
    resampled: the interval then says nothing about training again.

    Args:
        pairs: for each set the scores of both arms, items x seeds, NaN where unscored; all sets
            have the same seeds in the same order.

    Raises:
        ValueError: no item is scored in both arms for the same seed.
    """
    sets = _complete([np.asarray(on, float) - np.asarray(off, float) for on, off in pairs])
    estimate, by_items, by_seeds = _deviations(sets)
    n_items, n_seeds = sum(map(len, sets)), sets[0].shape[1]
    replicates = estimate + by_items + by_seeds
    low, high = _interval(replicates) if _can_vary(sets) else (np.nan, np.nan)
    return Difference(
        estimate=estimate,
        low=low,
        high=high,
        p_value=_p_value(replicates) if _can_vary(sets) else 1.0,
        se_items=float(by_items.std()),
        se_seeds=_seed_error(sets),
        minimum_effect=POWER_FACTOR * (high - low) / (2 * 1.96),
        n_items=n_items,
        n_seeds=n_seeds,
    )


def gap_closed(sets: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]]) -> Ratio | None:
    """Return the share of the gap to the teacher that an arm closes: (on - off) / (teacher - off).

    Args:
        sets: for each set the scores of the arm, the plain arm and the teacher, items x seeds
            (the teacher may have one column).

    Returns:
        None where the interval of the gap itself contains 0: there is nothing to share out.
    """
    gains, gaps = [], []
    for on, off, teacher in (map(np.asarray, three) for three in sets):
        gain, gap = on - off, teacher - off
        scored = np.isfinite(gain + gap)
        gains.append(np.where(scored, gain, np.nan))
        gaps.append(np.where(scored, gap, np.nan))
    gains, gaps = _complete(gains), _complete(gaps)
    (gain, *gain_parts), (gap, *gap_parts) = _deviations(gains), _deviations(gaps)
    gap_replicates = gap + np.sum(gap_parts, axis=0)
    low, high = _interval(gap_replicates)
    if low <= 0 <= high or not _can_vary(gaps):
        return None
    shares = (gain + np.sum(gain_parts, axis=0)) / gap_replicates
    return Ratio(gain / gap, *_interval(shares), n=sum(map(len, gaps)))


def word(difference: Difference, adjusted_p: float, higher_is_better: bool = True) -> Word:
    """Return the verdict on a difference, by its Holm-adjusted p-value."""
    if not adjusted_p < LEVEL:
        return "not separable"
    return "better" if (difference.estimate > 0) == higher_is_better else "worse"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of a family of comparisons by Holm's step-down method."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return [float(value) for value in adjusted]


def sign_flip_floor(seeds: int) -> float:
    """Return the least p-value that a sign-flip test on so many paired seeds can give."""
    return min(1.0, 2.0 ** (1 - seeds))


# --- ratios and win rates -------------------------------------------------------------------


def ratio_of_medians(on: ArrayLike, off: ArrayLike) -> Ratio:
    """Return median(on) / median(off) with an interval from resampled pairs.

    Args:
        on: one value for each pair, such as seconds.
        off: the values that they are paired with.
    """
    numerator, denominator = np.asarray(on, float), np.asarray(off, float)
    draws = _generator().integers(len(numerator), size=(REPLICATES, len(numerator)))
    ratios = np.median(numerator[draws], axis=1) / np.median(denominator[draws], axis=1)
    estimate = float(np.median(numerator) / np.median(denominator))
    return Ratio(estimate, *_interval(ratios), n=len(numerator))


def outcome(verdicts: Sequence[str]) -> Outcome:
    """Combine the verdicts of both orders of a pair into one outcome.

    Only orders that agree decide; a failed or missing order is a failure and never a tie.
    """
    if "identical" in verdicts:
        return "identical"
    if len(verdicts) < 2 or "failed" in verdicts:
        return "failed"
    if len(set(verdicts)) > 1:
        return "flip"
    agreed: dict[str, Outcome] = {"candidate": "win", "opponent": "loss", "tie": "tie"}
    return agreed[verdicts[0]]


def win_rate(outcomes: Iterable[tuple[Hashable, Outcome]]) -> WinRate:
    """Summarise outcomes; intervals resample prompts, with all their pairs (seeds) together.

    Args:
        outcomes: the prompt and the outcome of every pair.
    """
    names: tuple[Outcome, ...] = get_args(Outcome)
    by_prompt: dict[Hashable, Counter[Outcome]] = {}
    for prompt, what in outcomes:
        by_prompt.setdefault(prompt, Counter())[what] += 1
    table = np.array([[counts[name] for name in names] for counts in by_prompt.values()], float)
    total = dict(zip(names, table.sum(0).astype(int).tolist(), strict=True))
    wins, losses = table[:, names.index("win")], table[:, names.index("loss")]
    judged = table.sum(1) - table[:, names.index("failed")]
    points = wins + (judged - wins - losses) / 2
    overall, p_value = _share(points, judged)
    return WinRate(
        counts=total,
        decisive=_share(wins, wins + losses)[0],
        overall=overall,
        bounds=(
            float(points.sum() / table.sum()),
            float((points.sum() + total["failed"]) / table.sum()),
        ),
        p_value=p_value,
    )


def _share(part: Array, whole: Array) -> tuple[Ratio | None, float]:
    """Return sum(part) / sum(whole) and its p-value against one half, prompts resampled."""
    part, whole = part[whole > 0], whole[whole > 0]
    if not len(whole):
        return None, 1.0
    shares = _resampled_mean(part, whole, _generator())
    known = len(whole) > 1
    ends = _interval(shares) if known else (0.0, 1.0)
    estimate = float(part.sum() / whole.sum())
    return Ratio(estimate, *ends, n=int(whole.sum())), _p_value(shares - 0.5) if known else 1.0


# --- resampling -----------------------------------------------------------------------------


def _generator() -> np.random.Generator:
    return np.random.default_rng(20240)


def _complete(sets: Sequence[Array]) -> list[Array]:
    """Keep the seeds that every set has scores of, and the items with a score."""
    seeds = np.all([np.isfinite(values).any(0) for values in sets], axis=0)
    kept = [values[:, seeds] for values in sets]
    kept = [values[np.isfinite(values).any(1)] for values in kept]
    if not seeds.any():
        raise ValueError("no item is scored in both arms for the same training seed")
    return kept


def _can_vary(sets: Sequence[Array]) -> bool:
    return all(len(values) > 1 for values in sets)


def _deviations(sets: Sequence[Array]) -> tuple[float, Array, Array]:
    """Return the mean over sets, and how far resampling items and seeds moves it."""
    generator = _generator()
    seeds = sets[0].shape[1]
    draws = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=REPLICATES)
    scale = np.sqrt(seeds / generator.chisquare(max(seeds - 1, 1), REPLICATES))
    estimates, by_items, by_seeds = [], [], []
    for values in sets:
        scored = np.isfinite(values)
        filled = np.where(scored, values, 0)
        estimate = filled.sum() / scored.sum()
        n = len(values)
        resampled = _resampled_mean(filled.sum(1), scored.sum(1).astype(float), generator)
        by_items.append((resampled - estimate) * np.sqrt(n / max(n - 1, 1)))
        by_seed = (draws @ filled.sum(0)) / (draws @ scored.sum(0))
        by_seeds.append((by_seed - estimate) * scale)
        estimates.append(estimate)
    return float(np.mean(estimates)), np.mean(by_items, axis=0), np.mean(by_seeds, axis=0)


def _resampled_mean(sums: Array, counts: Array, generator: np.random.Generator) -> Array:
    """Return sum / count of resampled items, a few replicates at a time to bound the memory."""
    n = len(sums)
    means = np.empty(REPLICATES)
    for start in range(0, REPLICATES, 500):
        draws = generator.integers(n, size=(len(means[start : start + 500]), n))
        means[start : start + 500] = sums[draws].sum(1) / counts[draws].sum(1)
    return means


def _seed_error(sets: Sequence[Array]) -> float | None:
    seeds = sets[0].shape[1]
    if seeds < 2:
        return None
    by_seed = np.mean([np.nanmean(values, axis=0) for values in sets], axis=0)
    return float(by_seed.std(ddof=1) / np.sqrt(seeds))


def _interval(replicates: Array) -> tuple[float, float]:
    low, high = np.quantile(replicates, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def _p_value(replicates: Array) -> float:
    """Return the two-sided p-value of 0; it is below LEVEL where the interval excludes 0."""
    tail = int(min((replicates <= 0).sum(), (replicates >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(replicates) + 1))
