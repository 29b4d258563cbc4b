"""Win rates of the methods by every judge, with intervals and conclusions."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

import numpy as np

from adakd.config.judge import Outcome
from adakd.judging.comparisons import AGAIN, ALL, REFERENCE
from adakd.planning import PLAIN, SEEDED
from adakd.reporting import formatting
from adakd.reporting.charts import Axis, axis_over
from adakd.reporting.families import OTHERS, question_arms
from adakd.reporting.index import Method
from adakd.reporting.judges.vetting import JudgeLabel, judge_vettings
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.scores import instruction_sets
from adakd.reporting.verdicts import JudgedComparison, grouped
from adakd.stats import (
    LEVEL,
    POINTS,
    Conclusion,
    JointErrors,
    Ratio,
    SeedNoise,
    WinRate,
    prompt_pulls,
    seed_noise,
    step_down,
    stopped_rate,
    win_rate,
)
from adakd.store.records import StopRecord, VerdictRecord

ONE_SEED: Literal["one seed"] = "one seed"
"""Instead of a verdict: an early stop of a judging of one training seed has none."""
LENGTH_MATTERS = 0.1
"""Difference between the rate at equal length and the raw one above which the page warns."""
OUTCOMES: tuple[Outcome, ...] = ("win", "tie", "flip", "identical", "failed", "loss")
"""The outcomes in the order of a bar: wins and losses at the two ends."""
_COLOURS = dict(zip(OUTCOMES, ("better", "s0", "s2", "s3", "s4", "worse"), strict=True))
Place = tuple[str, str, Method, Method]
"""Judge, kind of opponent and both methods."""


@dataclass(frozen=True)
class WinRateRow:
    """The comparisons of one method with another by one judge."""

    judge: str
    """Its key."""
    against: str
    method: Method
    opponent: Method
    rate: WinRate
    overall: Ratio | None
    """The rate on the page; after an early stop, with an interval that allows for looking."""
    p_value: float | None
    """Of the overall rate against one half, not adjusted; 1 where an early stop leaves it open,
    None where it has no verdict."""
    stop: StopRecord | None = None
    adjusted_p: float | None = None
    conclusion: Conclusion | Literal["one seed"] = "not separable"
    """The overall rate against one half; `ONE_SEED` where it has no verdict."""
    band: float | None = None
    """Distance from one half that chance in training gives in 95 of 100 runs."""
    first_preferred: float | None = None
    """Share of decided verdicts for the answer shown first; 0.5 for an unbiased judge."""
    failures: tuple[tuple[str, int], ...] = ()
    """The most frequent reasons of failures, with their counts."""

    @property
    def place(self) -> Place:
        """What no other row shares."""
        return self.judge, self.against, self.method, self.opponent

    @property
    def name(self) -> str:
        """The name of the row on the page."""
        return f"{self.method} over {self.opponent}" if self.against == ALL else str(self.method)

    @property
    def inside_band(self) -> bool:
        """Whether chance in training may well give all of a gain that is not separable."""
        if self.band is None or self.overall is None or self.conclusion != "not separable":
            return False
        return abs(self.overall.estimate - 0.5) <= self.band

    @property
    def length_matters(self) -> bool:
        """Whether the lengths of the answers explain a large part of the rate."""
        raw, controlled = self.rate.overall, self.rate.controlled
        if raw is None or controlled is None:
            return False
        return abs(controlled.estimate - raw.estimate) > LENGTH_MATTERS

    @property
    def remark(self) -> str:
        """The note beside the conclusion."""
        stop = self.stop
        if self.overall is None:
            return "no pair was judged"
        if stop and stop.reached:
            return (
                f"stopped at {stop.prompts:,} of {stop.available:,} prompts: "
                f"±{stop.target:g} over prompts reached"
            )
        if stop:
            return f"all {stop.prompts:,} prompts: ±{stop.target:g} over prompts not reached"
        return "inside the A/A band" if self.inside_band else ""

    @property
    def length(self) -> str:
        """The difference in length of the candidate's answers, in words."""
        gap = self.rate.length_gap
        if gap is None:
            return ""
        rounded = round(abs(gap), 1)
        if not rounded:
            return "equally long"
        return f"{formatting.number(rounded, 1)} words {'longer' if gap > 0 else 'shorter'}"

    @property
    def outcome_bar(self) -> list[tuple[str, str, float]]:
        """Class, label and count of each outcome."""
        counts = self.rate.counts
        return [(name, f"{name} {counts[name]}", counts[name]) for name in OUTCOMES]


@dataclass(frozen=True)
class RateTable:
    """The rows of all judges against one kind of opponent."""

    against: str
    rows: tuple[WinRateRow, ...]

    @property
    def title(self) -> str:
        """The heading of the table."""
        names = {
            PLAIN: "Against the plain arm of the same divergence",
            REFERENCE: "Against the reference answer",
            ALL: "Every method against every other",
        }
        return names.get(self.against, f"Against {self.rows[0].opponent}")

    @property
    def is_folded(self) -> bool:
        """Whether the table has a row for every two methods."""
        return self.against == ALL

    @property
    def by_judge(self) -> dict[str, list[WinRateRow]]:
        """The rows by the judge's key."""
        groups: dict[str, list[WinRateRow]] = {}
        for row in self.rows:
            groups.setdefault(row.judge, []).append(row)
        return groups

    @property
    def axis(self) -> Axis:
        """The axis in percent: all intervals, and at least 40 to 60; bands may reach beyond."""
        found = [row.overall for row in self.rows if row.overall]
        ends = [end for rate in found for end in (rate.low, rate.high)]
        axis = axis_over([100 * value for value in (0.4, 0.6, *ends)], include=50)
        ticks = tuple(tick for tick in axis.ticks if 0 <= tick <= 100)
        return Axis(max(axis.low, 0), min(axis.high, 100), ticks, axis.digits)

    @property
    def has_band(self) -> bool:
        """Whether any row has an A/A band."""
        return any(row.band is not None for row in self.rows)

    @property
    def has_soft(self) -> bool:
        """Whether any judge gives probabilities."""
        return any(row.rate.soft for row in self.rows)

    @property
    def has_failures(self) -> bool:
        """Whether any comparison failed."""
        return any(row.rate.counts["failed"] for row in self.rows)


@dataclass(frozen=True)
class Band:
    """The A/A band of one judge."""

    judge: str
    """Its name."""
    noise: SeedNoise
    """The distance from one half of two trainings of a plain method."""
    comparisons: int
    """Comparisons of single items behind it."""


@dataclass(frozen=True)
class Rates:
    """The win rates by all judges."""

    rows: tuple[WinRateRow, ...]
    bands: tuple[Band, ...]
    paired: str
    """The seeds that the win rates are paired over."""
    judges: Mapping[str, JudgeLabel]
    """By key."""

    @property
    def tables(self) -> tuple[RateTable, ...]:
        """The rows by kind of opponent."""
        groups: dict[str, list[WinRateRow]] = {}
        for row in self.rows:
            groups.setdefault(row.against, []).append(row)
        return tuple(RateTable(against, tuple(rows)) for against, rows in groups.items())

    @property
    def colours(self) -> dict[Outcome, str]:
        """The colour of each outcome, in the order of a bar."""
        return _COLOURS

    @property
    def has_stops(self) -> bool:
        """Whether any judging stopped early."""
        return any(row.stop for row in self.rows)

    @property
    def has_withheld(self) -> bool:
        """Whether a row has no verdict: judged with an early stop, and of one training seed."""
        return any(row.conclusion == ONE_SEED for row in self.rows)

    @property
    def has_soft(self) -> bool:
        """Whether any judge gives probabilities."""
        return any(row.rate.soft for row in self.rows)

    @property
    def has_failures(self) -> bool:
        """Whether any comparison failed."""
        return any(row.rate.counts["failed"] for row in self.rows)


def rates(context: Context) -> Rates | None:
    """Return the win rates by all judges; None if there are no judges."""
    judges = context.once(judge_vettings)
    if not judges:
        return None
    verdicts = context.verdicts
    bands = {key: seed_distances(found) for key, found in verdicts.comparisons.items()}
    return Rates(
        rows=context.once(win_rate_rows),
        bands=tuple(
            Band(verdicts.name(key), noise, count)
            for key, (noise, count) in bands.items()
            if noise is not None
        ),
        paired=context.once(instruction_sets).paired,
        judges={judge.key: judge.label for judge in judges},
    )


def win_rate_rows(context: Context) -> tuple[WinRateRow, ...]:
    """Summarise the comparisons by judge, opponent and method.

    The rows of one judge, kind of opponent and question are a family. A row with an early stop is
    in it like the others; its interval allows for looking as well.
    """
    comparisons = context.verdicts.comparisons
    groups = {
        place: found
        for of_judge in comparisons.values()
        for place, found in grouped(of_judge).items()
        if place[1] != AGAIN
    }
    stops = {(s.judge, s.against, s.method, s.opponent): s for s in context.store.of(StopRecord)}
    rows = [
        _row(*place, found, stops.get((*place[:2], str(place[2]), str(place[3]))))
        for place, found in groups.items()
    ]
    noises = {key: seed_distances(found)[0] for key, found in comparisons.items()}
    rows = [replace(row, band=_band(row, noises[row.judge])) for row in rows]
    families: dict[tuple[str, str, str], list[WinRateRow]] = {}
    for row in rows:
        question = _question(row, question_arms(context.index))
        families.setdefault((row.judge, row.against, question), []).append(row)
    order = {method: number for number, method in enumerate(context.index.methods)}
    judges = {key: number for number, key in enumerate(comparisons)}
    return tuple(
        sorted(
            (row for family in families.values() for row in _concluded(family, groups)),
            key=lambda row: (
                row.against == ALL,
                row.against != PLAIN,
                row.against,
                judges[row.judge],
                order.get(row.method, 0),
            ),
        )
    )


def _row(
    judge: str,
    against: str,
    method: Method,
    opponent: Method,
    comparisons: Sequence[JudgedComparison],
    stop: StopRecord | None,
) -> WinRateRow:
    results = [comparison.result for comparison in comparisons]
    rate = win_rate(results)
    orders = [record for comparison in comparisons for record in comparison.orders]
    reasons = Counter(record.reason for record in orders if record.verdict == "failed")
    if stop and rate.prompts > stop.prompts:
        stop = None  # judged further since then, without an early stop
    overall: Ratio | None = rate.overall
    p: float | None = rate.p_value
    if stop:
        sequence = Ratio(stop.estimate, stop.low, stop.high, stop.prompts)
        is_trained = any(one.role in SEEDED for one in (method, opponent))
        overall, p = stopped_rate(results, rate, sequence, is_trained)
    return WinRateRow(
        judge=judge,
        against=against,
        method=method,
        opponent=opponent,
        rate=rate,
        overall=overall,
        p_value=p,
        stop=stop,
        first_preferred=_first_preferred(orders),
        failures=tuple(sorted(reasons.items(), key=lambda one: (-one[1], one[0]))[:3]),
    )


def _question(row: WinRateRow, asked: Sequence[str]) -> str:
    """Return what a row belongs to, among those of one judge and kind of opponent.

    Each arm that the suite asks about is a question, as for paired differences; the plain arms are
    one, all other arms another, controls a third, and students trained elsewhere a fourth. Every
    method against every other is one.
    """
    if row.against == ALL:
        return ALL
    method = row.method
    if method.role == "elsewhere":
        return method.role
    if method.role != "distilled":
        return "controls"
    return method.arm if method.arm in (PLAIN, *asked) else OTHERS


def _concluded(
    rows: Sequence[WinRateRow], groups: Mapping[Place, Sequence[JudgedComparison]]
) -> list[WinRateRow]:
    """Set the p-value and the conclusion of each row of a family.

    Rows without a judged pair, or without a p-value, are not of the family.
    """
    known = [(row, row.p_value) for row in rows if row.overall and row.p_value is not None]
    errors = _joint_errors([groups[row.place] for row, _ in known])
    adjusted = step_down([p for _, p in known], errors).p_values
    return [
        *(row for row in rows if not row.overall),
        *(replace(row, conclusion=ONE_SEED) for row in rows if row.overall and row.p_value is None),
        *(
            replace(row, adjusted_p=p, conclusion=_conclusion(row.overall, p))
            for (row, _), p in zip(known, adjusted, strict=True)
        ),
    ]


def _joint_errors(groups: Sequence[Sequence[JudgedComparison]]) -> JointErrors:
    """Return the errors of several win rates, over all their prompts."""
    found = [prompt_pulls(comparison.result for comparison in of_row) for of_row in groups]
    prompts = sorted({prompt for pulls, _ in found for prompt in pulls}, key=repr)
    matrix = np.array([[pulls.get(prompt, 0.0) for prompt in prompts] for pulls, _ in found])
    sets = np.zeros(len(prompts), np.intp)
    return JointErrors(matrix, sets, np.array([error for _, error in found]))


def _conclusion(overall: Ratio | None, adjusted_p: float) -> Conclusion:
    if overall is None or adjusted_p >= LEVEL:
        return "not separable"
    return "better" if overall.estimate > 0.5 else "worse"


def _first_preferred(orders: Sequence[VerdictRecord]) -> float | None:
    sides = {"candidate": True, "opponent": False}
    decided = [record for record in orders if record.verdict in sides]
    first = sum(sides[record.verdict] == record.candidate_first for record in decided)
    return first / len(decided) if decided else None


def _band(row: WinRateRow, noise: SeedNoise | None) -> float | None:
    """Return the A/A band of a row: that of a mean over as many trainings as it has."""
    sides = sum(method.role in SEEDED for method in (row.method, row.opponent))
    if noise is None or not row.rate.seeds or not sides:
        return None
    return noise.band(row.rate.seeds, sides)


def seed_distances(comparisons: Iterable[JudgedComparison]) -> tuple[SeedNoise | None, int]:
    """Return how far the win rate of a plain method over itself is from one half.

    Over all pairs of its training seeds; with the number of comparisons of single items behind it.
    """
    by_method: dict[Method, dict[tuple[int, int], list[float]]] = {}
    for one in comparisons:
        points, opponent = POINTS.get(one.outcome), one.orders[0].opponent
        if one.id.against == AGAIN and points is not None and opponent is not None:
            pair = one.orders[0].candidate.seed, opponent.seed
            by_method.setdefault(one.candidate.method, {}).setdefault(pair, []).append(points)
    count = sum(len(points) for pairs in by_method.values() for points in pairs.values())
    rates = [
        {pair: fmean(points) - 0.5 for pair, points in pairs.items()}
        for pairs in by_method.values()
    ]
    return seed_noise(rates), count


# --- sentences ------------------------------------------------------------------------------


def verdict_lines(context: Context) -> Iterator[tuple[str, bool]]:
    """Yield the end of a sentence on each judge's win rates, and whether the judge is trusted.

    A jury's line replaces those of its members. Of several opponents the plain arm counts, or else
    the first one.
    """
    judges = context.once(judge_vettings)
    within = {key for judge in judges for key in judge.record.members}
    for judge in judges:
        rows = [row for row in context.once(win_rate_rows) if row.judge == judge.key]
        rows = [row for row in rows if row.against != ALL]
        chosen = [row for row in rows if row.against == PLAIN] or rows
        if judge.key in within or not chosen:
            continue
        if judge.has_failed:
            yield f"by {judge.name} are not reliable: it failed its vetting.", False
        else:
            unvetted = "" if judge.result else " (not vetted)"
            yield f"by {judge.name}{unvetted} {rates_line(chosen)}.", judge.is_trusted


def rates_line(rows: Sequence[WinRateRow]) -> str:
    """Return the rows of one judge with their conclusions; of many, count those not separable."""
    against = "plain" if rows[0].against == PLAIN else str(rows[0].opponent)
    few = len(rows) <= formatting.FEW
    quiet = [
        row
        for row in rows
        if not few and row.overall and row.conclusion in ("not separable", ONE_SEED)
    ]
    parts = [_rate(row) for row in rows if row not in quiet]
    for word in ("not separable", ONE_SEED):
        if count := sum(row.conclusion == word for row in quiet):
            parts.append(f"{count} {'others' if parts else 'methods'} {word}")
    return f"against {against}: {', '.join(parts)}"


def _rate(row: WinRateRow) -> str:
    if row.overall is None:
        return f"{row.method} failed"
    interval = formatting.shares(row.overall)
    return f"{row.method} {formatting.percent(row.overall.estimate)} ({interval}, {row.conclusion})"
