"""Quality at equal time: scores against training seconds, and what the overhead would have bought.

Seconds are those of an interleaved step, times the steps of a training: whole trainings, one after
the other, differ by what else the machine was doing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isfinite
from statistics import median

from adakd.planning import PLAIN
from adakd.reporting.charts import Mark
from adakd.reporting.formatting import counted, duration, interval, number, percent, signed
from adakd.reporting.index import Index, Method
from adakd.reporting.sections.answer import Answer, Comparison, versus
from adakd.reporting.sections.scores import ScoreTable
from adakd.reporting.wording import arm_name
from adakd.stats import Difference, Ratio, ratio_of_medians
from adakd.store import Store
from adakd.store.records import TimedStep, TimingRecord

EVEN = 0.02
"""Trainings whose seconds differ by no more than this share took the same time."""


@dataclass(frozen=True)
class Spent:
    """A method by the time that its training takes and the score that it reaches."""

    method: Method
    steps: int
    seconds: float
    score: float | None
    """Mean over the instruction sets, as in the table of scores."""
    ends: tuple[float, float] | None = None
    """The interval of the paired difference to the plain arm, set around the score."""


@dataclass(frozen=True)
class EqualTime:
    """One divergence with one adaptive arm."""

    unit: str
    plain: Spent
    adaptive: Spent
    longer: Spent | None
    """The plain arm trained for longer; None where there is none."""
    overhead: Ratio
    """Adaptive over plain optimizer step, with all its micro-batches."""
    asked: bool
    """Whether the suite asks for a plain arm that is trained for longer."""
    bought: int
    """Plain steps that the adaptive arm's time beyond the plain arm's would have bought."""
    comparison: Comparison | None
    """The adaptive arm minus the longer plain arm."""

    @property
    def spent(self) -> tuple[Spent, ...]:
        """All that have a score, the plain arm first; none where that has none."""
        found = (self.plain, self.adaptive, self.longer) if self.plain.score is not None else ()
        return tuple(one for one in found if one and one.score is not None)

    @property
    def suggestion(self) -> str:
        """The share of steps that would make the times equal, as the command line takes it."""
        return f"{max(1, ceil(round(100 * (self.overhead.estimate - 1), 6))) / 100:g}"

    @property
    def given(self) -> float | None:
        """How much more time the longer plain arm had than the adaptive one, as a share.

        None where the two took the same time.
        """
        if self.longer is None:
            return None
        more = self.longer.seconds / self.adaptive.seconds - 1
        return more if abs(more) > EVEN else None


def equal_times(
    store: Store, index: Index, found: Answer, scores: ScoreTable
) -> tuple[EqualTime, ...]:
    """Describe every divergence and adaptive arm whose overhead was measured.

    Args:
        store: holds the interleaved steps.
        index: the other records.
        found: the adaptive arms against the plain ones.
        scores: the instruction sets; the last column is the mean over them.
    """
    timed = {(r.divergence, r.arm): r for r in store.current(TimingRecord) if r.pairs}
    longer = {m.divergence: m for m in index.methods if m.role == "longer"}
    pairs = [(on, off) for on, off in index.pairs() if (on.divergence, on.arm) in timed]
    gains = versus(index, [(m, Method("distilled", m.divergence)) for m in longer.values()])
    over_plain = {(row.divergence, row.arm): row.difference for row in (*found.overall, *gains)}
    against = [(on, longer[on.divergence]) for on, _ in pairs if on.divergence in longer]
    last = {(row.divergence, row.arm): row for row in versus(index, against)}
    means = {method: row[-1].mean for method, row in scores.rows if row}
    rows = []
    for on, off in pairs:
        place = str(on.divergence), on.arm
        plain, adaptive = _step_seconds(timed[place], index)
        found_of = [
            _spent(index, method, median(seconds), means, over_plain)
            for method, seconds in (
                (off, plain),
                (on, adaptive),
                (longer.get(on.divergence), plain),
            )
        ]
        if found_of[0] is None or found_of[1] is None:
            continue
        overhead = ratio_of_medians(adaptive, plain)
        rows.append(
            EqualTime(
                unit=scores.units[-1] if scores.units else "",
                plain=found_of[0],
                adaptive=found_of[1],
                longer=found_of[2],
                overhead=overhead,
                asked=on.divergence in longer,
                bought=max(0, round((overhead.estimate - 1) * found_of[0].steps)),
                comparison=last.get(place),
            )
        )
    return tuple(rows)


def _step_seconds(record: TimingRecord, index: Index) -> tuple[list[float], list[float]]:
    """Return the seconds of an optimizer step in both arms, one for each interleaved pair."""
    batches = index.suite.training.gradient_accumulation if index.suite else 1

    def whole(step: TimedStep) -> float:
        once = step.seconds.get("optimizer", 0.0)
        return batches * (sum(step.seconds.values()) - once) + once

    return [whole(plain) for plain, _ in record.pairs], [whole(on) for _, on in record.pairs]


def _spent(
    index: Index,
    method: Method | None,
    seconds: float,
    means: Mapping[Method, float | None],
    over_plain: Mapping[tuple[str, str], Difference | None],
) -> Spent | None:
    """Return what a method spent and reached; None where no training of it has ended well."""
    records = [index.trainings.get((method, seed)) for seed in index.seeds] if method else []
    steps = [r.steps[-1].step for r in records if r and r.status == "done" and r.steps]
    if method is None or not steps:
        return None
    score, ends = means.get(method), None
    over = over_plain.get((str(method.divergence), method.arm))
    is_plain = method.role == "distilled" and method.arm == PLAIN
    if score is not None and over and not is_plain and isfinite(over.low + over.high):
        ends = score + over.low - over.estimate, score + over.high - over.estimate
    return Spent(method, steps[0], steps[0] * seconds, score, ends)


def sentence(row: EqualTime) -> str:
    """Return what the overhead would have bought, and what is known of it, in words."""
    name = arm_name(row.adaptive.method.arm)
    bought = f"{row.plain.method}: {name}'s overhead of {_overhead(row)} "
    costs = row.overhead.estimate > 1
    if costs:
        bought += f"would have bought {counted(row.bought, 'more plain step')}"
    else:
        bought += "leaves no time that the plain arm could have used"
    if row.longer is None and row.asked:
        return f"{bought}; the plain arm that is to be trained for longer was not trained."
    if row.longer is None:
        unknown = (
            f" beside the {row.plain.steps:,}; what these would have brought is not known: run the "
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
        f"{f', {comparison.note}' if comparison.note else ''}): {verdict(row)}."
    )


def _overhead(row: EqualTime) -> str:
    estimate, low, high = (
        number(100 * (value - 1), 1)
        for value in (row.overhead.estimate, row.overhead.low, row.overhead.high)
    )
    return f"{estimate} % (95 % {low} to {high})"


def verdict(row: EqualTime) -> str:
    """Return the word on the adaptive arm against the longer plain one, and how equal they were.

    Less time for the arm that lost, or more for the one that won, is no verdict at equal time.
    """
    word, given = str(row.comparison.word) if row.comparison else "missing", row.given
    if given is None:
        return f"{word} at equal time"
    although = "but" if (word, given > 0) in (("worse", True), ("better", False)) else "though"
    than = "more" if given > 0 else "less"
    return f"{word}, {although} plain had {percent(abs(given), 1)} {than} time"


def marks(row: EqualTime, arms: Mapping[str, str]) -> list[Mark]:
    """Return the points of a chart; `arms` gives the CSS class of an arm."""
    return [
        Mark(
            "longer" if one.method.longer else arms[one.method.arm],
            f"{one.method}: {number(one.score)} after {duration(one.seconds)}",
            one.seconds,
            one.score,
            one.ends,
        )
        for one in row.spent
        if one.score is not None
    ]
