"""Selection of tokens over an optimizer step, whatever its micro-batches and devices.

A first forward pass of the student, without gradient, scores the tokens of every micro-batch. The
method then selects once among all of them, and each micro-batch is trained on its part. Between the
two passes only scores are held, and hidden states of the teacher: never logits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from adakd.adaptive import TokenSelection
from adakd.data.example import IGNORED
from adakd.losses.lm_head import HiddenStates
from adakd.losses.logits import Outputs
from adakd.losses.objective import Loss, Objective, next_token_labels
from adakd.models.forward import Batch, response
from adakd.training.crossing import Crossing
from adakd.training.profiling import Clock
from adakd.training.teacher_states import TeacherOutputs

Gather = Callable[[list[Tensor]], Sequence[list[Tensor]]]
"""Returns the scores of the micro-batches of every device, by its rank, all on this device."""


@dataclass(frozen=True)
class MicroBatch:
    """What a micro-batch is trained on: an objective with the selection given, and its teacher."""

    objective: Objective
    selection: TokenSelection
    """The micro-batch's part of the selection."""
    share: float
    """Its selected tokens among those of the step, over all devices."""
    teacher: TeacherOutputs
    """Gives the hidden states of the first pass, or else runs again."""

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: Tensor) -> Loss:
        """Return the mean loss of the selected tokens of this micro-batch."""
        return self.objective(student, teacher, labels, self.selection)


class StepSelection:
    """The micro-batches of a step on this device, in order, with their parts of a selection."""

    def __init__(self, parts: Sequence[MicroBatch], learned: tuple[Tensor, Tensor] | None) -> None:
        self._parts, self._learned = list(parts)[::-1], learned

    def take(self) -> MicroBatch:
        """Return the next micro-batch; it is not held any longer."""
        return self._parts.pop()

    def finish(self) -> bool:
        """Once all are taken, complete a learned temperature's gradient; return whether they are.

        Its graph is common to all micro-batches, so it is traversed once, after the last backward.
        """
        if self._parts:
            return False
        if self._learned is not None:
            temperature, cut = self._learned
            if cut.grad is not None:
                temperature.backward(cut.grad)  # type: ignore[no-untyped-call]
        return True


def alone(scores: list[Tensor]) -> Sequence[list[Tensor]]:
    """Return the scores of the only device."""
    return [scores]


def select_over_step(
    student: Any,
    teacher: TeacherOutputs,
    objective: Objective,
    batches: Sequence[Batch],
    clock: Clock,
    rank: int = 0,
    gather: Gather = alone,
    crossing: Crossing | None = None,
    own: int | None = None,
) -> StepSelection:
    """Return the selection over all micro-batches of a step, by a first pass without gradient.

    The second pass draws the same random numbers as the first, so dropout is the same in both.

    Args:
        student: a causal language model, in training mode.
        teacher: live or from stored states.
        objective: one that selects by step.
        batches: the micro-batches of this device.
        clock: gets the seconds of the phases teacher and selection.
        rank: this device's.
        gather: returns the scores of all devices.
        crossing: leads to the teacher's tokens, where they are others.
        own: number of micro-batches that count, the first ones; None for all. The others are
            another device's: no token of theirs is selected here.
    """
    device = batches[0]["labels"].device
    scores, outputs = list[Tensor](), list[TeacherOutputs]()
    with torch.no_grad(), torch.random.fork_rng([] if device.type == "cpu" else [device]):
        for batch in batches:
            labels = next_token_labels(batch["labels"])
            valid = labels != IGNORED
            with clock.phase("teacher"):
                theirs = teacher(*(crossing.teacher_batch(batch) if crossing else (batch, valid)))
            with clock.phase("selection"):
                ours = response(student, batch, valid)
                given: Any = (ours, theirs, labels[valid])
                given = crossing(ours, theirs, batch) if crossing else given
                scores.append(objective.scores(*given))
            outputs.append(_Held(theirs) if isinstance(theirs, HiddenStates) else teacher)
    with clock.phase("selection"):
        return _selected(objective, outputs, gather(scores[:own]), rank)


def _selected(
    objective: Objective,
    outputs: Sequence[TeacherOutputs],
    scores: Sequence[list[Tensor]],
    rank: int,
) -> StepSelection:
    # Micro-batch by micro-batch over the devices: the order of the rows, which decides ties.
    order = sorted((number, of) for of, given in enumerate(scores) for number in range(len(given)))
    ordered = [scores[of][number] for number, of in order]
    together = torch.cat(ordered)
    none = torch.empty(0, dtype=torch.long, device=together.device)
    selection = objective.select(together) if len(together) else TokenSelection(together, none)
    learned, temperature = None, selection.temperature
    if temperature is not None and temperature.requires_grad:
        learned = temperature, temperature.detach().requires_grad_()
        selection = replace(selection, temperature=learned[1])
    ends = pairwise(accumulate(map(len, ordered), initial=0))
    mine = [selection.part(*at) for at, (_, of) in zip(ends, order, strict=True) if of == rank]
    mine += [selection.part(0, 0)] * (len(outputs) - len(mine))
    count = max(1, len(selection.positions))
    parts = [
        MicroBatch(objective, part, len(part.positions) / count, output)
        for part, output in zip(mine, outputs, strict=True)
    ]
    return StepSelection(parts, learned)


@dataclass(frozen=True)
class _Held:
    """A teacher's hidden states of one micro-batch."""

    states: HiddenStates

    @property
    def width(self) -> int:
        """Dimensions of the states."""
        return self.states.states.shape[-1]

    def __call__(self, batch: Batch, valid: Tensor) -> HiddenStates:
        """Return the states."""
        return self.states
