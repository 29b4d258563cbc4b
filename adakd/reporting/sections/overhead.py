"""Overhead of an adaptive arm: interleaved steps of both arms on the same batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from statistics import median
from typing import get_args

from adakd.reporting import formatting
from adakd.reporting.charts import Axis, axis_over
from adakd.reporting.sections.base import Context
from adakd.reporting.wording import arm_name
from adakd.stats import LEAST_PAIRS, Ratio, mean_ratio, median_ratio
from adakd.store.records import TimedStep, TimingRecord
from adakd.store.steps import Phase

PHASES: tuple[Phase, ...] = get_args(Phase)
_COLOURS = dict(zip(PHASES, ("s5", "s0", "s6", "s3", "s1", "s4", "s2"), strict=True))


@dataclass(frozen=True)
class PhaseTime:
    """One phase of a step in both arms: medians in milliseconds, 0 in an arm without it."""

    phase: Phase
    plain: float
    adaptive: float
    plain_share: float
    """Share of the sum of all phases' medians."""
    adaptive_share: float
    ratio: Ratio | None
    """None where the phase takes no time in the plain arm."""


@dataclass(frozen=True)
class Overhead:
    """The overhead of one arm with one divergence."""

    divergence: str
    arm: str
    device: str
    tokens: int
    ratio: Ratio
    """Adaptive step over plain step, all phases: the median over the interleaved pairs."""
    plain: float
    """Median milliseconds of a plain step."""
    adaptive: float
    phases: tuple[PhaseTime, ...]
    pair_ratios: tuple[float, ...]
    """The ratio of each interleaved pair."""
    peak_plain: int | None
    """Peak memory in bytes; None where the system does not report it."""
    peak_adaptive: int | None

    @property
    def is_within_noise(self) -> bool:
        """Whether the steps of both arms may well take equally long."""
        return is_within_noise(self.ratio)

    @property
    def sentence(self) -> str:
        """The overhead in one sentence."""
        pairs = f"n = {formatting.counted(self.ratio.n, 'interleaved pair')}"
        noise = ": within noise" if self.is_within_noise else ""
        memory = ""
        if self.peak_plain and self.peak_adaptive:
            memory = f", peak memory {formatting.number(self.peak_adaptive / self.peak_plain)}×"
        return (
            f"{self.divergence}: the {arm_name(self.arm)} step takes "
            f"{formatting.number(self.ratio.estimate)}× a plain step "
            f"({ratio_ends(self.ratio)}, {pairs}){noise}{memory}."
        )

    @property
    def longest(self) -> float:
        """Milliseconds of the longer step of both arms."""
        return max(
            sum(phase.plain for phase in self.phases), sum(phase.adaptive for phase in self.phases)
        )

    @property
    def plain_bar(self) -> list[tuple[str, str, float]]:
        """Class, label and milliseconds of each phase of a plain step."""
        return [(_css(phase.phase), phase.phase, phase.plain) for phase in self.phases]

    @property
    def adaptive_bar(self) -> list[tuple[str, str, float]]:
        """Class, label and milliseconds of each phase of an adaptive step."""
        return [(_css(phase.phase), phase.phase, phase.adaptive) for phase in self.phases]


@dataclass(frozen=True)
class Timing:
    """The overhead of every arm that was measured."""

    rows: tuple[Overhead, ...]

    @property
    def axis(self) -> Axis:
        """The axis of all ratios."""
        ends = [end for row in self.rows for end in (row.ratio.low, row.ratio.high)]
        points = [ratio for row in self.rows for ratio in row.pair_ratios]
        return axis_over([*ends, *points], include=1.0)

    @property
    def has_sentences(self) -> bool:
        """Whether there are few enough rows to describe each in a sentence."""
        return len(self.rows) <= formatting.FEW

    @property
    def has_points(self) -> bool:
        """Whether there are few enough rows to draw the ratio of every single pair."""
        return len(self.rows) <= 2 * formatting.FEW

    @property
    def in_phases(self) -> tuple[Overhead, ...]:
        """The rows whose phases are on the page."""
        return self.rows[: 2 * formatting.FEW]

    @property
    def colours(self) -> dict[Phase, str]:
        """The colour of each phase that any of the rows has."""
        found = {part.phase for row in self.rows for part in row.phases}
        return {phase: colour for phase, colour in _COLOURS.items() if phase in found}


def overhead(context: Context) -> Timing | None:
    """Return the overhead of every arm; None where the answers are from files."""
    return None if context.index.is_of_files else Timing(context.once(overheads))


def ratio_ends(ratio: Ratio) -> str:
    """Return the interval of a ratio in words; with too few pairs there is none."""
    if isnan(ratio.low):
        return f"no interval: it takes {LEAST_PAIRS} pairs"
    return f"95 % {formatting.number(ratio.low)}–{formatting.number(ratio.high)}"


def is_within_noise(ratio: Ratio) -> bool:
    """Whether the interval of a ratio holds 1."""
    return ratio.low <= 1 <= ratio.high


def cost_sentence(rows: Sequence[Overhead]) -> str:
    """Return how long adaptive steps take, in the mean over `rows`; nothing without any."""
    if not rows:
        return ""
    ratio, several = mean_ratio([row.ratio for row in rows]), len({row.arm for row in rows}) > 1
    start = f"{'Their' if several else 'Its'} steps take"
    times, ends = f"{formatting.number(ratio.estimate)}×", ratio_ends(ratio)
    of = f", mean of {len(rows)}" if len(rows) > 1 else ""
    if is_within_noise(ratio):
        return f"{start} as long, within noise: {times} ({ends}{of})."
    return f"{start} {times} as long ({ends}{of})."


def overheads(context: Context) -> tuple[Overhead, ...]:
    """Summarise every timing record; the newest of each divergence and arm counts."""
    newest = {(r.divergence, r.arm): r for r in context.store.current(TimingRecord) if r.pairs}
    return tuple(_overhead(record) for record in newest.values())


def _overhead(record: TimingRecord) -> Overhead:
    plain, adaptive = zip(*record.pairs, strict=True)
    before, after = [_total(step) for step in plain], [_total(step) for step in adaptive]
    return Overhead(
        divergence=record.divergence,
        arm=record.arm,
        device=record.device,
        tokens=record.tokens,
        ratio=median_ratio(after, before),
        plain=1000 * median(before),
        adaptive=1000 * median(after),
        phases=_phases(plain, adaptive),
        pair_ratios=tuple(b / a for a, b in zip(before, after, strict=True)),
        peak_plain=_peak(plain),
        peak_adaptive=_peak(adaptive),
    )


def _phases(plain: tuple[TimedStep, ...], adaptive: tuple[TimedStep, ...]) -> tuple[PhaseTime, ...]:
    found = {phase for step in (*plain, *adaptive) for phase in step.seconds}
    times = {
        phase: (_seconds(plain, phase), _seconds(adaptive, phase))
        for phase in PHASES
        if phase in found
    }
    medians = {phase: (median(b), median(a)) for phase, (b, a) in times.items()}
    wholes = [sum(both[arm] for both in medians.values()) or 1.0 for arm in (0, 1)]
    return tuple(
        PhaseTime(
            phase,
            1000 * medians[phase][0],
            1000 * medians[phase][1],
            medians[phase][0] / wholes[0],
            medians[phase][1] / wholes[1],
            median_ratio(after, before) if min(before) > 0 else None,
        )
        for phase, (before, after) in times.items()
    )


def _seconds(steps: tuple[TimedStep, ...], phase: Phase) -> list[float]:
    return [step.seconds.get(phase, 0.0) for step in steps]


def _css(phase: Phase) -> str:
    return "loss-phase" if phase == "loss" else phase  # bars of outcomes have a class "loss" too


def _total(step: TimedStep) -> float:
    return sum(step.seconds.values())


def _peak(steps: tuple[TimedStep, ...]) -> int | None:
    return max((step.peak_bytes for step in steps if step.peak_bytes), default=None)
