"""What the adaptive arm costs: interleaved steps of both arms on the same batches."""

from dataclasses import dataclass
from statistics import median
from typing import get_args

from adakd.stats import Ratio, ratio_of_medians
from adakd.store import Store
from adakd.store.records import Phase, TimedStep, TimingRecord

PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True)
class PhaseTime:
    """One phase of a step in both arms: medians in milliseconds, 0 where it did not happen."""

    phase: Phase
    plain: float
    adaptive: float
    plain_share: float
    """Of the phases' medians together."""
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
    """Whole adaptive step over whole plain step."""
    plain: float
    """Median milliseconds of a plain step."""
    adaptive: float
    phases: tuple[PhaseTime, ...]
    pair_ratios: tuple[float, ...]
    """Of each pair by itself: all points behind the interval."""
    peak_plain: int | None
    """Most memory in use, in bytes; None where the system cannot tell."""
    peak_adaptive: int | None


def overheads(store: Store) -> tuple[Overhead, ...]:
    """Summarise every timing record; the newest of each divergence and arm counts."""
    newest = {(r.divergence, r.arm): r for r in store.current(TimingRecord) if r.pairs}
    return tuple(_overhead(record) for record in newest.values())


def _overhead(record: TimingRecord) -> Overhead:
    plain, adaptive = zip(*record.pairs, strict=True)
    before, after = [_total(step) for step in plain], [_total(step) for step in adaptive]
    return Overhead(
        divergence=record.divergence,
        arm=record.arm,
        device=record.device,
        tokens=record.tokens,
        ratio=ratio_of_medians(after, before),
        plain=1000 * median(before),
        adaptive=1000 * median(after),
        phases=_phases(plain, adaptive),
        pair_ratios=tuple(b / a for a, b in zip(before, after, strict=True)),
        peak_plain=_peak(plain),
        peak_adaptive=_peak(adaptive),
    )


def _phases(plain: tuple[TimedStep, ...], adaptive: tuple[TimedStep, ...]) -> tuple[PhaseTime, ...]:
    had = {phase for step in (*plain, *adaptive) for phase in step.seconds}
    times = {
        phase: (_seconds(plain, phase), _seconds(adaptive, phase))
        for phase in PHASES
        if phase in had
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
            ratio_of_medians(after, before) if min(before) > 0 else None,
        )
        for phase, (before, after) in times.items()
    )


def _seconds(steps: tuple[TimedStep, ...], phase: Phase) -> list[float]:
    return [step.seconds.get(phase, 0.0) for step in steps]


def _total(step: TimedStep) -> float:
    return sum(step.seconds.values())


def _peak(steps: tuple[TimedStep, ...]) -> int | None:
    return max((step.peak_bytes for step in steps if step.peak_bytes), default=None)
