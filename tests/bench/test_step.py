"""The cost of a whole training step: body, head, loss, backward, clipping and optimizer.

The reference has a live teacher, whole logits and the reference loss. Ours has the
teacher's hidden states at hand, as every training after the first epoch of a grid has them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median
from typing import Any

import pytest
import torch
from measuring import FASTER, ROUNDS, compare, note, row
from steps import LENGTH, SEQUENCES, Elsewhere, Ours, ours, reference

from adakd.losses.objective import Objective
from adakd.registry import Spec

WHAT = f"AdaKD step: 135M teacher, 10-layer student, {SEQUENCES} × {LENGTH} tokens, bf16"
WAY = "the reference implementation: live teacher, whole logits, AdamW foreach"


@pytest.mark.benchmark(group="Training step", timer=time.process_time)
def test_step(benchmark: Any) -> None:
    """Both sides in one process: with one allocator."""
    our_step, their_step = ours(), reference()
    torch.testing.assert_close(our_step(), their_step(), rtol=5e-2, atol=1e-4)
    found = compare(benchmark, our_step, their_step)
    line = row(f"{WHAT}, equal allocator", WAY, FASTER, found.times_faster, at_least=2.4)
    note(benchmark, line, ours=found.ours, reference=found.reference)


class Meter:
    """A clock of the seconds that other processes reported."""

    seconds = 0.0

    def now(self) -> float:
        return self.seconds


METER = Meter()


@pytest.fixture
def elsewhere() -> Iterator[Callable[[str], Elsewhere]]:
    """Start sides in processes of their own, and stop them in the end."""
    with ExitStack() as stack:

        def start(side: str) -> Elsewhere:
            made = Elsewhere(side)
            stack.callback(made.stop)
            return made

        yield start


@pytest.mark.benchmark(group="Training step", timer=METER.now)
def test_step_at_default_allocators(benchmark: Any, elsewhere: Callable[[str], Elsewhere]) -> None:
    """Each side in a process of its own: as a user of either would meet it."""
    here, there = elsewhere("ours"), elsewhere("reference")
    theirs: list[float] = []

    def our_step() -> None:
        METER.seconds += here.step()

    benchmark.pedantic(
        our_step, setup=lambda: theirs.append(there.step()), rounds=ROUNDS, warmup_rounds=1
    )
    faster = median(theirs[1:]) / benchmark.stats.stats.median
    line = row(f"{WHAT}, each at its default allocator", WAY, FASTER, faster, at_least=3.7)
    note(benchmark, line, ours=benchmark.stats.stats.median, reference=median(theirs[1:]))


@pytest.mark.benchmark(group="Training step", timer=time.process_time)
def test_adaptive_step_over_plain_step(benchmark: Any) -> None:
    """The two arms of a pair, on one student and batch: with every token kept, the dearest case."""
    arms = {arm: Objective("reverse_kl", arm, total_steps=100) for arm in (None, "adakd")}
    side = Ours()
    found = compare(
        benchmark, lambda: side.step(arms["adakd"]), lambda: side.step(arms[None]), rounds=9
    )
    line = row(WHAT, "our plain step", "times the plain step", 1 / found.times_faster, at_most=1.1)
    note(benchmark, line, ours=found.ours, reference=found.reference)


@pytest.mark.benchmark(group="Training step", timer=time.process_time)
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_selection_over_the_step_against_selection_in_micro_batches(
    benchmark: Any, ratio: float
) -> None:
    """What the first pass costs where a step has four micro-batches."""
    arms = {
        scope: Objective(
            "reverse_kl",
            Spec(name="adakd", scope=scope, focus={"name": "fixed", "ratio": ratio}),
            total_steps=100,
        )
        for scope in ("step", "micro_batch")
    }
    side = Ours()
    found = compare(
        benchmark,
        lambda: side.split_step(arms["step"]),
        lambda: side.split_step(arms["micro_batch"]),
    )
    what = f"{WHAT.replace(f'{SEQUENCES} ×', f'{SEQUENCES} × 1 ×')}, {ratio:.0%} of them selected"
    way = "the same with scope: micro_batch"
    line = row(f"{what}, scope: step", way, "times its step", 1 / found.times_faster)
    note(benchmark, line, ours=found.ours, reference=found.reference)
