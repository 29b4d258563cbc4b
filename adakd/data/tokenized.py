"""Tokenize rows into training sequences with labels on the response only. Needs no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adakd.config import Data
from adakd.data.example import IGNORED, Example
from adakd.data.instructions import Row
from adakd.data.prompts import prompt_of
from adakd.data.token_ids import prompt_ids, response_ids
from adakd.errors import AdakdError


@dataclass(frozen=True)
class Encoded:
    """Training sequences, with the number of rows that the filters removed."""

    examples: list[Example]
    left_out: int
    """Number of rows with a prompt over ``data.max_prompt_tokens`` or a blank response."""
    places: tuple[int, ...]
    """For each training sequence the place of its row."""


def encode(rows: Sequence[Row], tokenizer: Any, data: Data) -> Encoded:
    """Encode rows as ``prompt + response + end``, truncated to ``data.max_tokens``.

    Raises:
        AdakdError: no row is left.
    """
    sequences = [*_sequences(rows, tokenizer, data)]
    places = tuple(place for place, ids in enumerate(sequences) if ids is not None)
    if not places:
        raise AdakdError(
            f"data.train: none of {len(rows)} rows has response tokens left: raise "
            f"data.max_prompt_tokens ({data.max_prompt_tokens}) and data.max_tokens "
            f"({data.max_tokens})"
        )
    kept = (ids for ids in sequences if ids is not None)
    examples = [Example(number, *ids) for number, ids in enumerate(kept)]
    return Encoded(examples, left_out=len(rows) - len(examples), places=places)


def encode_all(rows: Sequence[Row], tokenizer: Any, data: Data) -> list[Example]:
    """Encode rows as :func:`encode` does, but leave none out, whatever its length."""
    prompts = [prompt_of(row.instruction, row.input, data.template, tokenizer) for row in rows]
    responses = [row.references[0] for row in rows]
    encoded = prompt_ids(prompts, tokenizer), response_ids(responses, tokenizer)
    return [
        answered(prompt, [*response, tokenizer.eos_token_id], number, data.max_tokens)
        for number, (prompt, response) in enumerate(zip(*encoded, strict=True))
    ]


def answered(prompt: Sequence[int], response: Sequence[int], number: int, limit: int) -> Example:
    """Return the sequence of a prompt and a response, together cut to `limit` tokens."""
    ids, count = [*prompt, *response][:limit], min(len(prompt), limit)
    return Example(number, ids, [IGNORED] * count + ids[count:])


def _sequences(
    rows: Sequence[Row], tokenizer: Any, data: Data
) -> Iterator[tuple[list[int], list[int]] | None]:
    """Yield the input ids and labels of each row; None for rows to leave out."""
    prompts = [prompt_of(row.instruction, row.input, data.template, tokenizer) for row in rows]
    responses = [row.references[0] for row in rows]
    encoded = prompt_ids(prompts, tokenizer), response_ids(responses, tokenizer)
    for response, prompt, target in zip(responses, *encoded, strict=True):
        target = [*target, tokenizer.eos_token_id][: max(0, data.max_tokens - len(prompt))]
        if len(prompt) > data.max_prompt_tokens or not target or not response.strip():
            yield None
        else:
            yield [*prompt, *target], [IGNORED] * len(prompt) + target
