"""Rows -> token sequences with labels on the response alone, and their batches."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from adakd.config import Data
from adakd.data import Row, prompt_of
from adakd.errors import AdakdError
from adakd.training.objective import IGNORED


@dataclass(frozen=True)
class Encoded:
    """Training sequences and what the filters left out."""

    examples: list[dict[str, list[int]]]
    """``input_ids`` and unshifted ``labels``, one list of token ids each."""
    left_out: int
    """Rows with a prompt over ``data.max_prompt_tokens``, or with an empty response."""


def encode(rows: Sequence[Row], tokenizer: Any, data: Data) -> Encoded:
    """Return rows as sequences ``prompt + response + end``, cut to ``data.max_tokens``.

    Raises:
        AdakdError: no row is left.
    """
    examples = [example for row in rows if (example := _example(row, tokenizer, data)) is not None]
    if not examples:
        raise AdakdError(
            f"data.train: none of {len(rows)} rows has response tokens left: raise "
            f"data.max_prompt_tokens ({data.max_prompt_tokens}) and data.max_tokens "
            f"({data.max_tokens})"
        )
    return Encoded(examples, left_out=len(rows) - len(examples))


def _example(row: Row, tokenizer: Any, data: Data) -> dict[str, list[int]] | None:
    prompt = prompt_of(row.instruction, row.input, data.template, tokenizer)
    # As lm-eval encodes it: the tokenizer's own habit decides on a first special token.
    prompt_ids = list(tokenizer(prompt)["input_ids"])
    response_ids = list(tokenizer(row.references[0], add_special_tokens=False)["input_ids"])
    response_ids.append(tokenizer.eos_token_id)
    response_ids = response_ids[: max(0, data.max_tokens - len(prompt_ids))]
    if len(prompt_ids) > data.max_prompt_tokens or not response_ids or not row.references[0]:
        return None
    labels = [IGNORED] * len(prompt_ids) + response_ids
    return {"input_ids": prompt_ids + response_ids, "labels": labels}


class ByLength(Sampler[int]):
    """A random order; the rows of each optimizer step stand in it by length.

    So the micro-batches of a step hold rows of about one length, and little of them is padding.
    The step itself holds the rows that chance gave it and learns the same, however it is split.

    Args:
        examples: the sequences.
        step: rows of one optimizer step, over all micro-batches and devices.
        seed: decides the order, with the epoch.
    """

    def __init__(self, examples: Sequence[dict[str, list[int]]], step: int, seed: int) -> None:
        self.lengths = [len(example["input_ids"]) for example in examples]
        self.step, self.seed, self.epoch = step, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rows = list(range(len(self)))
        random.Random(f"seed {self.seed}, epoch {self.epoch}").shuffle(rows)
        for start in range(0, len(rows), self.step):
            yield from sorted(rows[start : start + self.step], key=self.lengths.__getitem__)


@dataclass(frozen=True)
class Collator:
    """Pads a batch on the right to its longest sequence."""

    pad: int

    def __call__(self, examples: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
        """Return ``input_ids``, ``attention_mask`` and ``labels``, each of shape (B, L)."""
        longest = max(len(example["input_ids"]) for example in examples)

        def padded(field: str, filler: int) -> Tensor:
            rows = [e[field] + [filler] * (longest - len(e[field])) for e in examples]
            return torch.tensor(rows)

        lengths = torch.tensor([len(example["input_ids"]) for example in examples])
        return {
            "input_ids": padded("input_ids", self.pad),
            "attention_mask": (torch.arange(longest) < lengths[:, None]).long(),
            "labels": padded("labels", IGNORED),
        }
