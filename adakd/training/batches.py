"""Apply the data policy to the batches of the data set."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import torch
from torch import Tensor

from adakd.data.example import IGNORED, Example
from adakd.errors import AdakdError
from adakd.losses.objective import SupervisedObjective, next_token_labels
from adakd.models import loading
from adakd.models.decoding import generation_mode
from adakd.models.forward import response
from adakd.models.generation import ResponseGenerator
from adakd.planning import ResolvedAssignment
from adakd.policies import Decoding, Examples, Policy, PolicyContext
from adakd.training import ranks
from adakd.training.crossing import Crossing
from adakd.training.profiling import Clock
from adakd.training.sequences import TrainingData, TrainingSet
from adakd.training.step_responses import StepResponses

Writer = Callable[[Any], AbstractContextManager[Any]]
"""Gives the model that a data policy runs, for the while of a block, to each process."""


@dataclass(frozen=True)
class Collator:
    """Pads a batch on the right to its longest sequence."""

    pad: int
    crossing: Crossing | None = None
    """Adds the teacher's tokens, where they are others."""

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Return ``input_ids``, ``attention_mask``, ``labels``, ``(B, L)``, and ``number``, (B).

        With a crossing also what :meth:`Crossing.collate` returns.
        """
        lengths = [len(example.input_ids) for example in examples]
        longest = max(lengths)

        def padded(rows: Iterable[list[int]], filler: int) -> Tensor:
            return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])

        return {
            "input_ids": padded((example.input_ids for example in examples), self.pad),
            "attention_mask": (torch.arange(longest) < torch.tensor(lengths)[:, None]).long(),
            "labels": padded((example.labels for example in examples), IGNORED),
            "number": torch.tensor([example.number for example in examples]),
            **({} if self.crossing is None else self.crossing.collate(examples)),
        }


@dataclass(frozen=True)
class MicroBatches:
    """Pads the rows that all processes take at a time, as micro-batches of some size."""

    collate: Collator
    size: int

    def __call__(self, examples: Sequence[Example]) -> list[dict[str, Tensor]]:
        """Return the micro-batches in the order of the rows."""
        starts = range(0, len(examples), self.size)
        return [self.collate(examples[start : start + self.size]) for start in starts]


class PolicyBatches:
    """A data policy applied to the batches of one training.

    Args:
        policy: called once for each micro-batch.
        data: the sequences to train and to validate on.
        generator: generates the student's responses.
        steps: optimizer steps of the training.
        seed: seeds the random numbers of the policy.
        batch_size: sequences per validation batch.
        crossing: leads to the teacher's tokens, where they are others.
        writer: gives the model that generates and is validated, from the student.
    """

    def __init__(
        self,
        policy: Policy,
        data: TrainingSet,
        generator: ResponseGenerator,
        steps: int,
        seed: int,
        batch_size: int,
        crossing: Crossing | None = None,
        writer: Writer = nullcontext,
    ) -> None:
        self.policy, self.generator, self.steps, self.seed = policy, generator, steps, seed
        self._writer = writer
        self._together = ranks.count() > 1 and bool(policy.state_dict())
        """Whether the first process applies the policy for all: it has a state."""
        self.examples = data.examples
        self.rows = {example.number: example for example in data.examples}
        self.collate = Collator(generator.ends.pad, crossing)
        starts = range(0, len(data.held_out), batch_size)
        self.held_out = [data.held_out[start : start + batch_size] for start in starts]

    def __call__(
        self, batches: Sequence[Mapping[str, Tensor]], step: int, model: Any, clock: Clock
    ) -> list[Mapping[str, Tensor]]:
        """Return the micro-batches of a step that the student trains on, in this process.

        A policy with a state, which one micro-batch may leave to the next, is applied to all of
        them by the first process alone; any other by each process to its own.

        Args:
            batches: those of the data set, of all processes; one that the policy does not change is
                returned itself.
            step: finished optimizer steps.
            model: the student.
            clock: gets the seconds of the phase generation.
        """
        numbered = list(enumerate(batches))
        own = numbered[ranks.rank() :: ranks.count()]
        here = own if not self._together else numbered if ranks.rank() == 0 else []
        with self._writer(model) as writer:
            taken = self._applied(here, step, writer, clock)
        if self._together:
            taken = ranks.of_first(taken)
        return [
            batch if (rows := taken[micro]) is None else self.collate(rows) for micro, batch in own
        ]

    def _applied(
        self,
        batches: Iterable[tuple[int, Mapping[str, Tensor]]],
        step: int,
        model: Any,
        clock: Clock,
    ) -> dict[int, Examples | None]:
        """Return what the policy takes in place of each batch, by the batch's number."""
        occasion = f"seed {self.seed}, step {step}"

        def write(rows: Examples, decoding: Decoding) -> list[Example]:
            with clock.phase("generation"):
                return self.generator(model, rows, decoding, occasion)

        def validate() -> float:
            with clock.phase("generation"):
                return self.validate(model)

        responses, taken = StepResponses(write), dict[int, Examples | None]()
        for micro, batch in batches:
            context = PolicyContext(
                step=step,
                steps=self.steps,
                micro_batch=micro,
                rng=Random(f"{occasion}, batch {micro}"),
                generate=responses,
                validate=validate,
            )
            taken[micro] = self._taken(batch, context)
        responses.settle()
        return {micro: rows and [*rows] for micro, rows in taken.items()}

    def _taken(self, batch: Mapping[str, Tensor], context: PolicyContext) -> Examples | None:
        """Return what the policy takes in place of a batch; None where it leaves it as it is."""
        given = [self.rows[number] for number in batch["number"].tolist()]
        taken = self.policy(given, context)
        if not self.policy.fresh and any(row.number < 0 for row in taken):
            raise AdakdError(
                f"data policy {type(self.policy).__name__}: it returns sequences generated during "
                "the training: set its `fresh` to True, so that the teacher runs on them"
            )
        return None if taken == given else taken

    def validate(self, model: Any) -> float:
        """Return the mean cross-entropy of a model over the held-out tokens.

        Raises:
            AdakdError: nothing is held out.
        """
        if not self.held_out:
            raise AdakdError("a data policy can validate only if it holds rows out: set `held_out`")
        precision, device = self.generator.precision, next(model.parameters()).device
        autocast = partial(torch.autocast, device.type, precision)
        total, tokens, objective = 0.0, 0, SupervisedObjective()
        with generation_mode(model), torch.no_grad(), autocast(enabled=precision != torch.float32):
            for rows in self.held_out:
                collated = Collator(self.generator.ends.pad)(rows)
                batch = {name: value.to(device) for name, value in collated.items()}
                labels = next_token_labels(batch["labels"])
                valid = labels != IGNORED
                part = objective(response(model, batch, valid), None, labels[valid])
                total += float(part.loss) * part.tokens
                tokens += part.tokens
        return total / tokens


def policy_batches(
    assignment: ResolvedAssignment, data: TrainingData, writer: Writer = nullcontext
) -> PolicyBatches:
    """Return the batches of a training, with a new data policy; `writer` as there."""
    training = assignment.training
    assert training is not None
    return PolicyBatches(
        policy=assignment.new_policy(),
        data=data.training_set(assignment),
        generator=data.generator(loading.DTYPES[training.precision]),
        steps=assignment.steps,
        seed=assignment.cell.seed,
        batch_size=training.batch_size,
        crossing=data.context.crossing_of(assignment),
        writer=writer,
    )
