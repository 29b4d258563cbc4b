"""The cost of a training step across two tokenizers, over that of a plain step.

A teacher with more entries has a larger LM head, whose product nothing can avoid. So its steps are
also measured over a plain step with this product: that for the entries beyond the student's.

The student has SmolLM2-135M's shape and 10 of its layers, the teacher the width of Gemma 3's 270M
model, and its vocabulary or one of the student's size; both have random weights. Half of the
student's entries are the teacher's too. Three quarters of the units are one token on either side,
the others two of the student's.
"""

import time
from typing import Any

import numpy as np
import pytest
import torch
from measuring import compare, note, row
from steps import LENGTH, SEQUENCES, VOCABULARY, Ours, in_bf16, update
from torch import Tensor
from torch.nn.functional import linear

from adakd.bridges import Bridge, bridge
from adakd.data.vocabulary import Vocabulary
from adakd.losses.bridged import Response, TeacherHead, Units, bridged
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.logits import Outputs
from adakd.losses.objective import Objective
from adakd.registry import Spec
from adakd.training.profiling import Clock
from adakd.training.trainer import distillation_loss

GEMMA, WIDTH = 262_144, 640
COMMON = VOCABULARY // 2
WHAT = f"Step across a bridge: 10-layer student, {SEQUENCES} × {LENGTH} tokens, bf16"
WAY = "a plain step, its teacher with the student's vocabulary"
LARGER = "a plain step and the product of the teacher's LM head for its other entries"
GOAL = 1.3


def vocabulary(count: int, first: int) -> Vocabulary:
    """Return entries of a number each, after an end token."""
    names = tuple(str(number) for number in range(first, first + count - 1))
    return Vocabulary(
        ("</s>", *names), (b"", *(name.encode() for name in names)), frozenset({0}), 0
    )


class Across:
    """A crossing of one batch, whose units are given."""

    def __init__(self, made: Bridge, entries: int) -> None:
        self.bridge, self.head = made, TeacherHead()
        made.connect(vocabulary(VOCABULARY, 0), vocabulary(entries, VOCABULARY - COMMON))
        tokens = SEQUENCES * (LENGTH - 1)
        sizes = np.where(np.arange(tokens) % 4 == 3, 2, 1)
        ends = np.cumsum(sizes)
        ends = ends[ends <= tokens]
        if made.direct:
            ends = ends[sizes[: len(ends)] == 1]
        starts = ends - sizes[: len(ends)] if not made.direct else ends - 1
        there = np.arange(len(ends))
        spans = torch.from_numpy(np.stack([starts, ends, there, there + 1], 1))
        chance = torch.Generator().manual_seed(2)
        ids = (torch.randint(1, of, (tokens,), generator=chance) for of in (VOCABULARY, entries))
        self.units = Units(spans, *ids)
        firsts = self.units.student_ids[spans[:, 0]].numpy()
        self.labels = torch.from_numpy(made.labels(firsts))
        states = torch.randn(len(ends), WIDTH, generator=chance)
        weight = torch.randn(entries, WIDTH, generator=chance) * 4 / WIDTH**0.5
        self.teacher = HiddenStates(states.bfloat16(), LMHead(weight.bfloat16()))

    def teacher_batch(self, batch: Any) -> tuple[Any, None]:
        return batch, None

    def __call__(
        self, student: Response, teacher: Response, batch: Any
    ) -> tuple[Outputs, Outputs, Tensor]:
        return *bridged(self.bridge, student, teacher, self.units, self.head), self.labels


@pytest.mark.benchmark(group="Training step across a bridge", timer=time.process_time)
@pytest.mark.parametrize("entries", [VOCABULARY, GEMMA])
@pytest.mark.parametrize("name", bridge)
def test_step_across_a_bridge(benchmark: Any, name: str, entries: int) -> None:
    side, objective = Ours(), Objective("forward_kl")
    across: Any = Across(bridge.build(Spec(name=name)), entries)

    def step() -> Tensor:
        with in_bf16():
            loss = distillation_loss(
                side.student, lambda *_: across.teacher, objective, side.batch, Clock(), across
            ).loss
        update(loss, side.student, side.optimizer)
        return loss.detach()

    beyond = across.teacher.head.weight[VOCABULARY:]

    def product() -> Tensor:
        return linear(across.teacher.states, beyond)

    found = compare(benchmark, step, lambda: side.step(objective), product, rounds=2)
    what, measure = f"{WHAT}: {name}, teacher of {entries:,} entries", "times the plain step"
    goal = {} if len(beyond) else {"at_most": GOAL}
    lines = [row(what, WAY, measure, found.ours / found.reference, **goal)]
    if len(beyond):
        ratio = found.ours / (found.reference + found.others[0])
        lines.append(row(what, LARGER, measure, ratio, at_most=GOAL))
    note(benchmark, *lines, ours=found.ours, reference=found.reference, product=found.others[0])
