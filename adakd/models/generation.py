"""Generation of responses to the prompts of training sequences."""

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

_RESOLUTION = 1 << 23
"""Random numbers are multiples of 1/this: none of them is rounded to 1 in float32."""


@dataclass(frozen=True)
class ResponseGenerator:
    """Generates responses in batches, with the key-value cache, in evaluation mode.

    Every row has a random stream of its own, seeded by the occasion and the row's number. So its
    response does not depend on the rest of the batch (but for rounding), and the global random
    state, which dropout draws from, is not advanced.
    """

    end: int
    """The id of the token that ends a response."""
    pad: int
    """The id of the padding token."""
    max_tokens: int
    """Limit on prompt and response together."""
    precision: torch.dtype = torch.float32
    """Precision of the computation."""

    def __call__(
        self, model: Any, rows: Sequence[Example], decoding: Decoding, occasion: str
    ) -> list[Example]:
        """Return the prompts of `rows`, each with the model's response including its end token.

        Args:
            model: a causal language model, with adapters or without.
            rows: sequences whose prompts are answered.
            decoding: temperature, truncation and length.
            occasion: seeds the random numbers, together with the number of each row.
        """
        prompts = [row.prompt for row in rows]
        longest = max(map(len, prompts))
        limits = [self._limit(prompt, decoding) for prompt in prompts]
        padded = [[self.pad] * (longest - len(prompt)) + prompt for prompt in prompts]
        lengths = torch.tensor([[len(prompt)] for prompt in prompts])
        mask = (torch.arange(longest) >= longest - lengths).long()
        precision, device = self.precision, model.device
        with (
            generation_mode(model) as base,
            torch.no_grad(),
            torch.autocast(device.type, precision, enabled=precision != torch.float32),
        ):
            generated = base.generate(
                torch.tensor(padded, device=device),
                attention_mask=mask.to(device),
                generation_config=_config(
                    max_new_tokens=max(limits),
                    eos_token_id=self.end,
                    pad_token_id=self.pad,
                    do_sample=False,  # the argmax after the processors below
                    use_cache=True,
                ),
                logits_processor=_processors(decoding, _draws(rows, limits, occasion), longest),
                stopping_criteria=StoppingCriteriaList([_LengthLimits(limits, longest)]),
            )
        responses = generated[:, longest:].tolist()
        return [
            row.with_response(self._cut(response[:limit]), number=min(row.number, -1 - row.number))
            for row, response, limit in zip(rows, responses, limits, strict=True)
        ]

    def _limit(self, prompt: list[int], decoding: Decoding) -> int:
        left = self.max_tokens - len(prompt)
        return min(left, decoding.max_new_tokens or left)

    def _cut(self, response: list[int]) -> list[int]:
        """Return a response up to its first end token, whose id may also be that of padding."""
        return response[: response.index(self.end) + 1] if self.end in response else response


@contextmanager
def generation_mode(model: Any) -> Iterator[Any]:
    """Yield a model in evaluation mode, without the generation settings that it was saved with.

    Adapters are active in the yielded model; their wrapper is removed.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    training, config = base.training, base.generation_config
    base.eval()
    base.generation_config = _config()
    try:
        yield base
    finally:
        base.train(training)
        base.generation_config = config


def _config(**settings: Any) -> GenerationConfig:
    return GenerationConfig(**settings)  # type: ignore[no-untyped-call]  # it has no types


def _draws(rows: Sequence[Example], limits: Sequence[int], occasion: str) -> Tensor:
    """Return random numbers in [0, 1), ``(B, tokens)``, each row from a stream of its own."""
    longest, drawn = max(limits), []
    for row, limit in zip(rows, limits, strict=True):
        chance = Random(f"{occasion}, row {row.number}")
        drawn.append(
            [chance.randrange(_RESOLUTION) for _ in range(limit)] + [0] * (longest - limit)
        )
    return torch.tensor(drawn, dtype=torch.float32) / _RESOLUTION


def _processors(decoding: Decoding, draws: Tensor, prompt: int) -> LogitsProcessorList:
    chosen: list[LogitsProcessor] = []
    if decoding.temperature not in (0, 1):
        chosen.append(TemperatureLogitsWarper(decoding.temperature))
    if decoding.top_k:
        chosen.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        chosen.append(TopPLogitsWarper(decoding.top_p))
    if decoding.temperature:
        chosen.append(_InverseSampling(draws, prompt))
    return LogitsProcessorList(chosen)


class _InverseSampling(LogitsProcessor):
    """Leaves one token: the first whose cumulative probability exceeds the draw."""

    def __init__(self, draws: Tensor, prompt: int) -> None:
        self.draws, self.prompt = draws, prompt

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        draw = self.draws[:, input_ids.shape[1] - self.prompt, None].to(scores.device)
        cumulated = scores.float().softmax(-1).cumsum(-1)
        token = (cumulated <= draw * cumulated[:, -1:]).sum(-1, keepdim=True)
        return torch.full_like(scores, -torch.inf).scatter(-1, token, 0.0)


class _LengthLimits(StoppingCriteria):
    """Ends each row at its own limit."""

    def __init__(self, limits: Sequence[int], prompt: int) -> None:
        self.limits, self.prompt = torch.tensor(limits), prompt

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        return (self.limits <= input_ids.shape[1] - self.prompt).to(input_ids.device)
