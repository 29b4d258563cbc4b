"""What a student is fed: the data set's batches, after its data policy had its say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import torch
from torch import Tensor

from adakd.data.example import IGNORED, Example
from adakd.data.tokenized import Encoded
from adakd.errors import AdakdError
from adakd.losses.objective import SupervisedObjective, next_token_labels
from adakd.models.forward import response
from adakd.models.generation import Writer, answering
from adakd.policies import Examples, Policy, PolicyContext
from adakd.training.profiling import Clock


class Feed:
    """A data policy at work in one training.

    Args:
        policy: decides, anew for each micro-batch.
        encoded: the sequences that the data set's batches are made of.
        held_out: the sequences to validate on.
        writer: lets the student write.
        steps: optimizer steps of the training.
        seed: decides what the policy draws.
        batch_size: sequences to validate on at a time.
    """

    def __init__(
        self,
        policy: Policy,
        encoded: Encoded,
        held_out: Sequence[Example],
        writer: Writer,
        steps: int,
        seed: int,
        batch_size: int,
    ) -> None:
        self.policy, self.writer, self.steps, self.seed = policy, writer, steps, seed
        self.rows = {example.number: example for example in encoded.examples}
        self.collate = Collator(writer.pad)
        parts = range(0, len(held_out), batch_size)
        self.held_out = [held_out[start : start + batch_size] for start in parts]

    def __call__(
        self, batches: Sequence[Mapping[str, Tensor]], step: int, model: Any, clock: Clock
    ) -> list[Mapping[str, Tensor]]:
        """Return the micro-batches of a step as the student is to meet them.

        Args:
            batches: those of the data set; one that the policy leaves alone is handed on itself.
            step: optimizer steps that are done.
            model: the student.
            clock: gets the seconds of the phase generation.
        """
        return [self._one(batch, step, micro, model, clock) for micro, batch in enumerate(batches)]

    def _one(
        self, batch: Mapping[str, Tensor], step: int, micro: int, model: Any, clock: Clock
    ) -> Mapping[str, Tensor]:
        occasion = f"seed {self.seed}, step {step}"

        def generate(rows: Examples, decoding: Any) -> list[Example]:
            with clock.phase("generation"):
                return self.writer(model, rows, decoding, occasion)

        def validate() -> float:
            with clock.phase("generation"):
                return self.validate(model)

        context = PolicyContext(
            step=step,
            steps=self.steps,
            micro_batch=micro,
            rng=Random(f"{occasion}, batch {micro}"),
            generate=generate,
            validate=validate,
        )
        given = [self.rows[number] for number in batch["number"].tolist()]
        taken = self.policy(given, context)
        if not self.policy.fresh and any(row.number < 0 for row in taken):
            raise AdakdError(
                f"data policy {type(self.policy).__name__}: it hands out sequences made during "
                "the training: set its `fresh` to True, so that the teacher reads them"
            )
        return batch if taken == given else self.collate(taken)

    def validate(self, model: Any) -> float:
        """Return the mean cross-entropy of a model over the tokens that are held out.

        Raises:
            AdakdError: nothing is held out.
        """
        if not self.held_out:
            raise AdakdError("a data policy can validate only where it holds rows out (`held_out`)")
        precision, device = self.writer.precision, next(model.parameters()).device
        autocast = partial(torch.autocast, device.type, precision)
        total, tokens, objective = 0.0, 0, SupervisedObjective()
        with answering(model), torch.no_grad(), autocast(enabled=precision != torch.float32):
            for rows in self.held_out:
                batch = {name: of.to(device) for name, of in self.collate(rows).items()}
                labels = next_token_labels(batch["labels"])
                counted = labels != IGNORED
                part = objective(response(model, batch, counted), None, labels[counted])
                total += float(part.loss) * part.tokens
                tokens += part.tokens
        return total / tokens


@dataclass(frozen=True)
class Collator:
    """Pads a batch on the right to its longest sequence."""

    pad: int

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Return ``input_ids``, ``attention_mask``, ``labels``, ``(B, L)``, and ``number``, (B)."""
        lengths = [len(example.input_ids) for example in examples]
        longest = max(lengths)

        def padded(rows: Iterable[list[int]], filler: int) -> Tensor:
            return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])

        return {
            "input_ids": padded((example.input_ids for example in examples), self.pad),
            "attention_mask": (torch.arange(longest) < torch.tensor(lengths)[:, None]).long(),
            "labels": padded((example.labels for example in examples), IGNORED),
            "number": torch.tensor([example.number for example in examples]),
        }
