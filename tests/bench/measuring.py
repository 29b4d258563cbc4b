"""How the benchmarks measure: two sides in turn, processor time, ratios with their goals."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

ROUNDS = 5
FASTER, MEMORY, TIME = "times faster", "of the memory", "of the time"
"""Measures: how often our time goes into the reference's; our peak and time as shares of its."""
Step = Callable[[], Any]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: the times of two sides then differ by their work alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Compared:
    """Seconds of the processor, medians over the rounds."""

    ours: float
    reference: float
    others: tuple[float, ...]

    @property
    def times_faster(self) -> float:
        return self.reference / self.ours


def compare(
    benchmark: Any,
    ours: Step,
    reference: Step,
    *others: Step,
    rounds: int = ROUNDS,
) -> Compared:
    """Let the sides take turns; the benchmark's own statistics are those of our side.

    Args:
        benchmark: with the processor's time as its timer.
        ours: our side.
        reference: the other one.
        others: further sides, or work that no way can avoid.
        rounds: how often each is measured, after one round to warm up.
    """
    sides = [(step, list[float]()) for step in (reference, *others)]

    def other_sides() -> None:
        for step, seconds in sides:
            start = time.process_time()
            step()
            seconds.append(time.process_time() - start)

    benchmark.pedantic(ours, setup=other_sides, rounds=rounds, warmup_rounds=1)
    first, *rest = (median(seconds[1:]) for _, seconds in sides)
    return Compared(benchmark.stats.stats.median, first, tuple(rest))


def peak(step: Step) -> int:
    """Return the most bytes of tensors that a step makes and holds at a time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = accumulate(event.nbytes() for event in sorted(events, key=lambda e: e.start_ns()))
    return max(held, default=0)


def row(
    what: str,
    reference: str,
    measure: str,
    value: float,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> dict[str, Any]:
    """Return a line of the table: a ratio and, if it has one, its goal.

    Args:
        what: the measured part, such as ``reverse_kl + AdaKD, 512 tokens x 49,152 logits``.
        reference: the other side of the comparison.
        measure: the unit of the value, such as ``times faster``.
        value: the ratio.
        at_least: the goal, where more is better.
        at_most: the goal, where less is better.
    """
    line: dict[str, Any] = {"what": what, "reference": reference, "measure": measure}
    line |= {"value": value, "goal": None, "more_is_better": at_most is None, "met": None}
    if at_least is not None:
        line |= {"goal": at_least, "met": value >= at_least}
    if at_most is not None:
        line |= {"goal": at_most, "met": value <= at_most}
    return line


def note(benchmark: Any, *rows: dict[str, Any], **more: float) -> None:
    """Keep lines of the table, and whatever numbers are worth keeping beside them."""
    benchmark.extra_info |= {"rows": list(rows), "more": more}
    for line in rows:
        print(f"{line['what']}: {line['value']:.3f} {line['measure']}")
