"""Responses that a model writes to the prompts of training sequences."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from adakd.data.example import Example
from adakd.policies import Decoding

_FINENESS = 1 << 23
"""Random numbers are multiples of 1/this: none of them is rounded to 1 in float32."""


@dataclass(frozen=True)
class Writer:
    """Lets models write: batched, with their key-value cache, in evaluation mode.

    Every row has random numbers of its own, which the occasion and its number decide. So its
    response does not depend on the rows beside it (but for rounding), and the global random
    numbers, which dropout takes, stay where they are.
    """

    end: int
    """The id of the token that ends a response."""
    pad: int
    """The id of the padding token."""
    max_tokens: int
    """Of prompt and response together."""
    precision: torch.dtype = torch.float32
    """To compute in."""

    def __call__(
        self, model: Any, rows: Sequence[Example], decoding: Decoding, occasion: str
    ) -> list[Example]:
        """Return the prompts of `rows`, each with the model's response up to its end.

        Args:
            model: a causal language model, with adapters or without.
            rows: sequences whose prompts are answered.
            decoding: how.
            occasion: decides the random numbers, with the number of each row.
        """
        prompts = [row.prompt for row in rows]
        longest = max(map(len, prompts))
        rooms = [self._room(prompt, decoding) for prompt in prompts]
        padded = [[self.pad] * (longest - len(prompt)) + prompt for prompt in prompts]
        lengths = torch.tensor([[len(prompt)] for prompt in prompts])
        mask = (torch.arange(longest) >= longest - lengths).long()
        precision, device = self.precision, model.device
        with (
            answering(model) as base,
            torch.no_grad(),
            torch.autocast(device.type, precision, enabled=precision != torch.float32),
        ):
            said = base.generate(
                torch.tensor(padded, device=device),
                attention_mask=mask.to(device),
                generation_config=_settings(
                    max_new_tokens=max(rooms),
                    eos_token_id=self.end,
                    pad_token_id=self.pad,
                    do_sample=False,  # what is likeliest after the processors below
                    use_cache=True,
                ),
                logits_processor=_processors(decoding, _draws(rows, rooms, occasion), longest),
                stopping_criteria=StoppingCriteriaList([_Room(rooms, longest)]),
            )
        answers = said[:, longest:].tolist()
        return [
            row.with_response(self._whole(answer[:room]), number=min(row.number, -1 - row.number))
            for row, answer, room in zip(rows, answers, rooms, strict=True)
        ]

    def _room(self, prompt: list[int], decoding: Decoding) -> int:
        left = self.max_tokens - len(prompt)
        return min(left, decoding.max_new_tokens or left)

    def _whole(self, answer: list[int]) -> list[int]:
        """Return an answer up to its end, which may be padding's token too."""
        return answer[: answer.index(self.end) + 1] if self.end in answer else answer


@contextmanager
def answering(model: Any) -> Iterator[Any]:
    """Yield a model in evaluation mode, without the habits of generation that it was saved with.

    Adapters are in what is yielded, their wrapper is not.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    training, habits = base.training, base.generation_config
    base.eval()
    base.generation_config = _settings()
    try:
        yield base
    finally:
        base.train(training)
        base.generation_config = habits


def _settings(**settings: Any) -> GenerationConfig:
    return GenerationConfig(**settings)  # type: ignore[no-untyped-call]  # it has no types


def _draws(rows: Sequence[Example], rooms: Sequence[int], occasion: str) -> Tensor:
    """Return random numbers in [0, 1), a row of ``(B, tokens)`` from a stream of its own."""
    longest, drawn = max(rooms), []
    for row, room in zip(rows, rooms, strict=True):
        chance = Random(f"{occasion}, row {row.number}")
        drawn.append([chance.randrange(_FINENESS) for _ in range(room)] + [0] * (longest - room))
    return torch.tensor(drawn, dtype=torch.float32) / _FINENESS


def _processors(decoding: Decoding, draws: Tensor, prompt: int) -> LogitsProcessorList:
    chosen: list[LogitsProcessor] = []
    if decoding.temperature not in (0, 1):
        chosen.append(TemperatureLogitsWarper(decoding.temperature))
    if decoding.top_k:
        chosen.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        chosen.append(TopPLogitsWarper(decoding.top_p))
    if decoding.temperature:
        chosen.append(_Sample(draws, prompt))
    return LogitsProcessorList(chosen)


class _Sample(LogitsProcessor):
    """Makes a drawn token the only one: the first whose cumulated probability exceeds the draw."""

    def __init__(self, draws: Tensor, prompt: int) -> None:
        self.draws, self.prompt = draws, prompt

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        draw = self.draws[:, input_ids.shape[1] - self.prompt, None].to(scores.device)
        cumulated = scores.float().softmax(-1).cumsum(-1)
        token = (cumulated <= draw * cumulated[:, -1:]).sum(-1, keepdim=True)
        return torch.full_like(scores, -torch.inf).scatter(-1, token, 0.0)


class _Room(StoppingCriteria):
    """Ends a row where it has as many tokens as fit."""

    def __init__(self, rooms: Sequence[int], prompt: int) -> None:
        self.rooms, self.prompt = torch.tensor(rooms), prompt

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        return (self.rooms <= input_ids.shape[1] - self.prompt).to(input_ids.device)
