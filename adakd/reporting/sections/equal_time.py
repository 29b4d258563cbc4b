"""Quality at equal time: scores by training seconds, and the plain steps that the overhead costs.

Seconds are those of an interleaved step, times the steps of a training: the times of whole
trainings, one after the other, depend on the load of the machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isfinite
from statistics import median

from adakd.planning import PLAIN
from adakd.reporting.families import arm_differences, compare
from adakd.reporting.formatting import FEW, counted, interval, number, percent, signed
from adakd.reporting.index import Index, Method
from adakd.reporting.paired import PairedDifference, paired
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.overhead import is_within_noise, ratio_ends
from adakd.reporting.sections.scores import set_means
from adakd.reporting.wording import arm_name
from adakd.stats import Difference, Ratio, median_ratio
from adakd.store.records import TimedStep, TimingRecord

EVEN = 0.02
"""Trainings whose seconds differ by at most this share count as equally long."""


@dataclass(frozen=True)
class TimedScore:
    """The score of a method and the time of its training."""

    method: Method
    steps: int
    seconds: float
    score: float | None
    """Mean over the instruction sets, as in the table of scores."""
    ends: tuple[float, float] | None = None
    """The interval of the paired difference to the plain arm, around the score."""


@dataclass(frozen=True)
class EqualTime:
    """One divergence with one adaptive arm."""

    unit: str
    plain: TimedScore
    adaptive: TimedScore
    longer: TimedScore | None
    """The plain arm trained for longer, if there is one."""
    overhead: Ratio
    """Adaptive over plain optimizer step, with all its micro-batches."""
    expects_longer: bool
    """Whether the suite asks for a plain arm that is trained for longer."""
    bought: int
    """Plain steps that fit in the time of the overhead."""
    bought_at_most: int | None
    """The same at the upper end of the overhead's interval; None where it has none."""
    comparison: PairedDifference | None
    """The adaptive arm minus the longer plain arm."""

    @property
    def scored(self) -> tuple[TimedScore, ...]:
        """The arms with a score, the plain arm first; empty if that has none."""
        found = (self.plain, self.adaptive, self.longer) if self.plain.score is not None else ()
        return tuple(one for one in found if one and one.score is not None)

    @property
    def suggestion(self) -> str:
        """The value of ``controls.longer`` that would make the times equal, as far as is known."""
        return f"{max(1, ceil(round(100 * (self.overhead.estimate - 1), 6))) / 100:g}"

    @property
    def given(self) -> float | None:
        """The extra time of the longer plain arm over the adaptive one, as a share.

        None if both took the same time.
        """
        if self.longer is None:
            return None
        more = self.longer.seconds / self.adaptive.seconds - 1
        return more if abs(more) > EVEN else None

    @property
    def may_be_equal(self) -> bool:
        """Whether the interval of the overhead leaves open that both took the same time."""
        if self.longer is None:
            return False
        equal = self.overhead.estimate * self.longer.seconds / self.adaptive.seconds
        return self.overhead.low <= equal <= self.overhead.high

    @property
    def sentence(self) -> str:
        """The cost of the overhead in plain steps, and the comparison at equal time, in words."""
        return sentence(self)


@dataclass(frozen=True)
class EqualTimes:
    """All divergences and adaptive arms whose overhead was measured."""

    rows: tuple[EqualTime, ...]

    @property
    def is_folded(self) -> bool:
        """Whether there are too many rows to show at once."""
        return len(self.rows) > FEW


def equal_time(context: Context) -> EqualTimes | None:
    """Compare scores at equal time; None where no overhead was measured."""
    rows = context.once(equal_times)
    return EqualTimes(rows) if rows else None


def equal_times(context: Context) -> tuple[EqualTime, ...]:
    """Describe every divergence and adaptive arm whose overhead was measured."""
    index, scores = context.index, context.once(set_means)
    timed = {(r.divergence, r.arm): r for r in context.store.current(TimingRecord) if r.pairs}
    longer = {m.divergence: m for m in index.methods if m.role == "longer"}
    pairs = [(on, off) for on, off in index.pairs() if (on.divergence, on.arm) in timed]
    gains = [
        paired(context, one, Method("distilled", one.divergence), index.sets).row
        for one in longer.values()
        if index.sets
    ]
    differences = (*context.once(arm_differences).overall, *gains)
    over_plain = {(row.divergence, row.arm): row.difference for row in differences}
    against = [
        (on, longer[on.divergence], index.sets)
        for on, _ in pairs
        if on.divergence in longer and index.sets
    ]
    compared = compare(context, "adaptive over longer plain training", against)
    last = {(row.divergence, row.arm): row for row in compared}
    means = {method: row[-1].mean for method, row in scores.rows if row}
    rows = []
    for on, off in pairs:
        place = str(on.divergence), on.arm
        plain, overhead = _step_times(timed[place], index)
        timed_scores = [
            _timed_score(index, method, seconds, means, over_plain)
            for method, seconds in (
                (off, plain),
                (on, plain * overhead.estimate),
                (longer.get(on.divergence), plain),
            )
        ]
        if timed_scores[0] is None or timed_scores[1] is None:
            continue
        rows.append(
            EqualTime(
                unit=scores.units[-1] if scores.units else "",
                plain=timed_scores[0],
                adaptive=timed_scores[1],
                longer=timed_scores[2],
                overhead=overhead,
                expects_longer=on.divergence in longer,
                bought=_bought(overhead.estimate, timed_scores[0]),
                bought_at_most=(
                    _bought(overhead.high, timed_scores[0]) if isfinite(overhead.high) else None
                ),
                comparison=last.get(place),
            )
        )
    return tuple(rows)


def _bought(ratio: float, plain: TimedScore) -> int:
    return max(0, round((ratio - 1) * plain.steps))


def _step_times(record: TimingRecord, index: Index) -> tuple[float, Ratio]:
    """Return the median seconds of a plain optimizer step, and the ratio of the adaptive one."""
    batches = index.suite.training.gradient_accumulation if index.suite else 1

    def whole(step: TimedStep) -> float:
        once = step.seconds.get("optimizer", 0.0)
        return batches * (sum(step.seconds.values()) - once) + once

    plain, adaptive = ([whole(step) for step in steps] for steps in zip(*record.pairs, strict=True))
    return median(plain), median_ratio(adaptive, plain)


def _timed_score(
    index: Index,
    method: Method | None,
    seconds: float,
    means: Mapping[Method, float | None],
    over_plain: Mapping[tuple[str, str], Difference | None],
) -> TimedScore | None:
    """Return the time and score of a method; None if none of its trainings is done."""
    records = [index.trainings.get((method, seed)) for seed in index.seeds] if method else []
    steps = [r.steps[-1].step for r in records if r and r.status == "done" and r.steps]
    if method is None or not steps:
        return None
    score, ends = means.get(method), None
    over = over_plain.get((str(method.divergence), method.arm))
    is_plain = method.role == "distilled" and method.arm == PLAIN
    if score is not None and over and not is_plain and isfinite(over.low + over.high):
        ends = score + over.low - over.estimate, score + over.high - over.estimate
    return TimedScore(method, steps[0], steps[0] * seconds, score, ends)


def sentence(row: EqualTime) -> str:
    """Return the cost of the overhead in plain steps, and the comparison at equal time."""
    name = arm_name(row.adaptive.method.arm)
    bought = f"{row.plain.method}: {name}'s overhead of {_overhead(row)} {_buys(row)}"
    costs = row.overhead.estimate > 1
    if row.longer is None and row.expects_longer:
        return f"{bought}; the longer plain arm was not trained."
    if row.longer is None:
        unknown = (
            f" in addition to the {row.plain.steps:,}; to see their effect, run the "
            f"same command with --set controls.longer={row.suggestion}"
        )
        return f"{bought}{unknown if costs else ''}."
    more = counted(row.longer.steps - row.plain.steps, "more step")
    comparison = row.comparison
    if comparison is None or comparison.difference is None:
        reason = comparison.note if comparison and comparison.note else "it was not scored"
        return f"{bought}. Plain with {more} has no result to compare with: {reason}."
    difference = comparison.difference
    ends = interval(difference.low, difference.high)
    return (
        f"{bought}. Plain with {more} reaches {number(row.longer.score)}, {name} "
        f"{number(row.adaptive.score)}; paired, {signed(difference.estimate)} (95 % {ends}"
        f"{f', {comparison.note}' if comparison.note else ''}): {conclusion(row)}."
    )


def _buys(row: EqualTime) -> str:
    """Return what the overhead would have bought, as far as the timing can tell."""
    more = counted(row.bought, "more plain step")
    if row.bought_at_most and is_within_noise(row.overhead):
        return f"is within noise; it would have bought {more}, at most {row.bought_at_most:,}"
    if row.overhead.estimate <= 1:
        return "leaves no time for more plain steps"
    most = f" (at most {row.bought_at_most:,})" if row.bought_at_most is not None else ""
    return f"would have bought {more}{most}"


def _overhead(row: EqualTime) -> str:
    estimate, low, high = (
        number(100 * (value - 1), 1)
        for value in (row.overhead.estimate, row.overhead.low, row.overhead.high)
    )
    ends = f"95 % {low} to {high}" if isfinite(row.overhead.low) else ratio_ends(row.overhead)
    return f"{estimate} % ({ends})"


def conclusion(row: EqualTime) -> str:
    """Return the conclusion on the adaptive arm against the longer plain one.

    It is qualified by unequal times: a win with more time, or a loss with less, proves little.
    """
    found, given = str(row.comparison.conclusion) if row.comparison else "missing", row.given
    if given is None:
        return f"{found} at equal time"
    although = "but" if (found, given > 0) in (("worse", True), ("better", False)) else "though"
    than = "more" if given > 0 else "less"
    noise = ", within noise" if row.may_be_equal else ""
    return f"{found}, {although} plain had {percent(abs(given), 1)} {than} time{noise}"
