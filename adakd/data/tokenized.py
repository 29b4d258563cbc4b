"""Rows -> token sequences with labels on the response alone, and their batches."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from adakd.config import Data, Training
from adakd.data import Row, prompt_of
from adakd.errors import AdakdError
from adakd.training.objective import IGNORED


@dataclass(frozen=True)
class Example:
    """One training sequence."""

    number: int
    """Its place among all training sequences. Of one made during the training: ``-1 - number`` of
    the row whose prompt it has."""
    input_ids: list[int]
    labels: list[int]
    """Unshifted; -100 in the prompt."""

    @property
    def counted(self) -> int:
        """Labels that count: what comes before the first token is nobody's to predict."""
        return sum(label != IGNORED for label in self.labels[1:])

    @property
    def prompt(self) -> list[int]:
        """The tokens in front of the response."""
        return self.input_ids[: self.labels.count(IGNORED)]

    def answered(self, response: list[int], number: int) -> "Example":
        """Return the same prompt with another response."""
        prompt = self.prompt
        return Example(number, prompt + response, [IGNORED] * len(prompt) + response)


@dataclass(frozen=True)
class Encoded:
    """Training sequences and what the filters left out."""

    examples: list[Example]
    left_out: int
    """Rows with a prompt over ``data.max_prompt_tokens``, or with an empty response."""


def encode(rows: Sequence[Row], tokenizer: Any, data: Data) -> Encoded:
    """Return rows as sequences ``prompt + response + end``, cut to ``data.max_tokens``.

    Raises:
        AdakdError: no row is left.
    """
    sequences = [ids for ids in _sequences(rows, tokenizer, data) if ids is not None]
    if not sequences:
        raise AdakdError(
            f"data.train: none of {len(rows)} rows has response tokens left: raise "
            f"data.max_prompt_tokens ({data.max_prompt_tokens}) and data.max_tokens "
            f"({data.max_tokens})"
        )
    examples = [Example(number, *ids) for number, ids in enumerate(sequences)]
    return Encoded(examples, left_out=len(rows) - len(examples))


def _sequences(
    rows: Sequence[Row], tokenizer: Any, data: Data
) -> Iterator[tuple[list[int], list[int]] | None]:
    """Yield the input and the labels of each row; None where it is to be left out."""
    prompts = [prompt_of(row.instruction, row.input, data.template, tokenizer) for row in rows]
    responses = [row.references[0] for row in rows]
    # As lm-eval encodes it: the tokenizer's own habit decides on a first special token.
    prompt_ids = tokenizer(prompts)["input_ids"] if rows else []
    response_ids = tokenizer(responses, add_special_tokens=False)["input_ids"] if rows else []
    for response, asked, said in zip(responses, prompt_ids, response_ids, strict=True):
        answer = [*said, tokenizer.eos_token_id][: max(0, data.max_tokens - len(asked))]
        if len(asked) > data.max_prompt_tokens or not answer or not response:
            yield None
        else:
            yield [*asked, *answer], [IGNORED] * len(asked) + answer


class ByLength(Sampler[int]):
    """A random order; the rows of each optimizer step stand in it by length.

    So the micro-batches of a step hold rows of about one length, and little of them is padding.
    With a pool of one the step itself holds the rows that chance gave it and learns the same,
    however it is split.

    Args:
        examples: the sequences.
        step: rows of one optimizer step, over all micro-batches and devices.
        seed: decides the order, with the epoch.
        pool: so many steps share their rows out by length, and follow each other in random order.
    """

    def __init__(self, examples: Sequence[Example], step: int, seed: int, pool: int = 1) -> None:
        self.lengths = [len(example.input_ids) for example in examples]
        self.step, self.seed, self.pool, self.epoch = step, seed, pool, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rows, chance = (
            list(range(len(self))),
            random.Random(f"seed {self.seed}, epoch {self.epoch}"),
        )
        chance.shuffle(rows)
        for pool in _cut(rows, self.pool * self.step):
            steps = _cut(sorted(pool, key=self.lengths.__getitem__), self.step)
            short = steps.pop() if len(steps[-1]) < self.step else []  # stays an epoch's last
            chance.shuffle(steps)
            for step in (*steps, short):
                yield from step


def row_order(examples: Sequence[Example], training: Training, seed: int) -> ByLength:
    """Return the order in which a training takes its rows."""
    return ByLength(examples, training.sequences * world_size(), seed, training.length_pool)


def world_size() -> int:
    """Return the number of processes that train together."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


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
