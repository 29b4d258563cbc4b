"""Win rates of a candidate under a judge: plain, graded, and length-controlled."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from adakd.config.judge import Outcome
from adakd.stats.bootstrap import (
    REPLICATES,
    Array,
    Indices,
    Resampled,
    crossed,
    draw_seeds,
    interval,
    new_generator,
    numbered,
    p_value,
    weighted_mean,
)
from adakd.stats.components import Components, error_law
from adakd.stats.length_control import length_controlled
from adakd.stats.multiple_testing import sign_flip_floor
from adakd.stats.ratios import Ratio, wilson

POINTS: Mapping[Outcome, float] = {"win": 1, "tie": 0.5, "flip": 0.5, "identical": 0.5, "loss": 0}
"""Points of each outcome; a failure has none."""
_FEW = 10
"""Replicates on the far side of one half below which they show too little."""


@dataclass(frozen=True)
class PairResult:
    """Outcome of one pair of answers over both orders."""

    prompt: Hashable
    """Task and item."""
    seed: Hashable
    """The training seed. Several samples from one training are separate pairs of it."""
    outcome: Outcome
    points: float | None
    """P(candidate) + P(tie) / 2 over both orders, 0 to 1; None without probabilities."""
    length_difference: float | None
    """Words of the candidate's answer minus words of the opponent's."""


@dataclass(frozen=True)
class WinRate:
    """How often the candidate's answer was preferred, as proportions."""

    counts: Mapping[Outcome, int]
    overall: Ratio | None
    """Wins plus half of the undecided pairs, over all judged pairs; None without any."""
    decisive: Ratio | None
    """Wins over wins plus losses; None without either."""
    soft: Ratio | None
    """Mean of the judge's graded points; None without any."""
    controlled: Ratio | None
    """The length-controlled rate; None if it cannot be estimated from the pairs."""
    length_gap: float | None
    """Mean length of the candidate's answers minus that of the opponent's, in words."""
    bounds: tuple[float, float]
    """The overall rate if all failures were losses, and if all were wins."""
    p_value: float
    """Two-sided, of the overall rate against one half."""
    prompts: int
    """Number of prompts with a judged pair."""
    seeds: int
    """Number of training seeds with a judged pair."""


@dataclass(frozen=True)
class _Judged:
    """Judged pairs as columns; NaN where a pair lacks a value."""

    points: Array
    decisive: Array
    soft: Array
    lengths: Array
    prompts: Indices
    seeds: Indices

    @classmethod
    def of(cls, pairs: Sequence[PairResult]) -> "_Judged":
        points = np.array([POINTS[pair.outcome] for pair in pairs])
        is_decided = np.array([pair.outcome in ("win", "loss") for pair in pairs])
        has_grades = any(p.points is not None and p.outcome != "identical" for p in pairs)
        return cls(
            points=points,
            decisive=np.where(is_decided, points, np.nan),
            soft=_column([pair.points if has_grades else None for pair in pairs]),
            lengths=_column([pair.length_difference for pair in pairs]),
            prompts=numbered([pair.prompt for pair in pairs]),
            seeds=numbered([pair.seed for pair in pairs]),
        )


def win_rate(results: Iterable[PairResult], replicates: int = REPLICATES) -> WinRate:
    """Summarise the pairs of one candidate and one opponent under one judge.

    All intervals come from the same crossed bootstrap: prompts are resampled with all their pairs
    and, if there are two or more, training seeds independently and studentised (see
    :func:`adakd.stats.bootstrap.draw_seeds`). With a single seed the interval does not cover
    variation between trainings.

    The p-value is never below that of a sign-flip test on as many prompts; where the replicates
    are too few to show it, it is that of the law of :mod:`adakd.stats.error_law`. If all prompts
    have the same result, so that resampling gives no variation, the interval allows for the share
    of other results that Wilson's interval gives for none among as many prompts. The order of the
    pairs does not matter.

    Args:
        results: all pairs, failed ones included.
        replicates: number of replicates.
    """
    pairs = list(results)
    counted = Counter(pair.outcome for pair in pairs)
    names: tuple[Outcome, ...] = get_args(Outcome)
    counts = {name: counted[name] for name in names}
    judged = _judged(pairs)
    if not judged:
        return WinRate(counts, None, None, None, None, None, (0.0, 1.0), 1.0, 0, 0)
    table = _Judged.of(judged)
    resampled = _resample(table, replicates)
    prompts = int(table.prompts.max()) + 1
    return WinRate(
        counts=counts,
        overall=_ratio(resampled["overall"], table.points, table),
        decisive=_ratio(resampled["decisive"], table.decisive, table),
        soft=_ratio(resampled["soft"], table.soft, table),
        controlled=_ratio(resampled.get("controlled"), table.lengths, table),
        length_gap=_mean(table.lengths),
        bounds=_bounds(float(table.points.sum()), counts["failed"], len(pairs)),
        p_value=_p_value(resampled["overall"], table, prompts),
        prompts=prompts,
        seeds=int(table.seeds.max()) + 1,
    )


def prompt_pulls(results: Iterable[PairResult]) -> tuple[dict[Hashable, float], float]:
    """Return how far each prompt pulls the overall rate, and the standard error of the rate.

    Rates over the same prompts err together: see :mod:`adakd.stats.joint_errors`.
    """
    judged = _judged(results)
    if not judged:
        return {}, 0.0
    table = _Judged.of(judged)
    part = Components.of(table.points, table.prompts, table.seeds)
    names = dict.fromkeys(pair.prompt for pair in judged)
    return dict(zip(names, map(float, part.by_item), strict=True)), error_law([part]).error


def _judged(results: Iterable[PairResult]) -> list[PairResult]:
    """Return the judged pairs in an order of their own: resampling goes by their positions."""
    judged = (pair for pair in results if pair.outcome != "failed")
    return sorted(judged, key=lambda pair: (repr(pair.prompt), repr(pair.seed), repr(pair)))


def _resample(table: _Judged, replicates: int) -> dict[str, Resampled]:
    """Resample all rates with the same draws; an undefined rate is NaN or missing."""
    columns = {"overall": table.points, "decisive": table.decisive, "soft": table.soft}
    rates = {name: weighted_mean(values) for name, values in columns.items()}
    if controlled := length_controlled(table.points, table.lengths):
        rates["controlled"] = controlled
    generator = new_generator()
    draws = draw_seeds(int(table.seeds.max()) + 1, replicates, generator)
    return crossed(rates, table.prompts, table.seeds, draws, generator)


def _ratio(resampled: Resampled | None, column: Array, table: _Judged) -> Ratio | None:
    """Return a rate with its interval, which is [0, 1] for a single prompt."""
    if resampled is None or np.isnan(resampled.estimate):
        return None
    known = np.isfinite(column)
    prompts = len(np.unique(table.prompts[known]))
    low, high = _ends(resampled, prompts)
    return Ratio(resampled.estimate, low, high, n=int(known.sum()))


def _ends(resampled: Resampled, prompts: int) -> tuple[float, float]:
    if prompts < 2:
        return 0.0, 1.0
    known = resampled.replicates[~np.isnan(resampled.replicates)]
    if np.ptp(known) < 1e-12:
        unseen = wilson(0, prompts).high
        low = resampled.estimate * (1 - unseen)
        return low, low + unseen
    low, high = interval(resampled.replicates)
    return max(low, 0.0), min(high, 1.0)


def _p_value(overall: Resampled, table: _Judged, prompts: int) -> float:
    """Return the p-value of one half: of the replicates, or of the law where they are too few."""
    p = p_value(overall.replicates - 0.5)
    if p < 2 * _FEW / REPLICATES:
        law = error_law([Components.of(table.points, table.prompts, table.seeds)])
        p = min(p, law.p_value(overall.estimate - 0.5))
    return max(p, sign_flip_floor(prompts))


def _bounds(points: float, failed: int, pairs: int) -> tuple[float, float]:
    return points / pairs, (points + failed) / pairs


def _mean(column: Array) -> float | None:
    known = column[np.isfinite(column)]
    return float(known.mean()) if len(known) else None


def _column(values: Sequence[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values], float)
