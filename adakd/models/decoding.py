"""Decoding: the responses of a causal language model to prompts, by one of two engines.

Every request has a random stream of its own. So its response does not depend, but for rounding, on
the engine or on the other requests, and the global random state is not advanced.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import eq
from random import Random
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import (
    ContinuousBatchingConfig,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)

from adakd.errors import AdakdError, one_line
from adakd.policies import Decoding

_RESOLUTION = 1 << 23
"""Random numbers are multiples of 1/this: none of them is rounded to 1 in float32."""
_PAGE = 32
"""Tokens to a page of the cache of continuous batching."""
_BATCH_TOKENS = 512
"""Tokens, of prompts for the most part, that continuous batching reads in one step."""
OnDone = Callable[[int], None]
"""Called with the number of requests that have been answered since the last call."""


@dataclass(frozen=True)
class Request:
    """A prompt to answer."""

    prompt: Sequence[int]
    """Token ids."""
    limit: int
    """The most tokens of the response, its end token included."""
    stream: str
    """Names the random stream."""

    def draws(self) -> Iterator[float]:
        """Yield the random numbers of the response's tokens, in [0, 1)."""
        chance = Random(self.stream)
        while True:
            yield chance.randrange(_RESOLUTION) / _RESOLUTION


@dataclass(frozen=True)
class Ends:
    """The special tokens of decoding."""

    end: int
    """The id of the token that ends a response."""
    pad: int
    """The id of the padding token."""

    def cut(self, response: list[int]) -> list[int]:
        """Return a response up to its first end token, whose id may also be that of padding."""
        return response[: response.index(self.end) + 1] if self.end in response else response


def _unheard(_: int) -> None:
    """Do nothing with the number of answered requests."""


class Decoder(Protocol):
    """Decodes the responses of a model to requests, so many at a time."""

    def __call__(
        self,
        model: Any,
        requests: Sequence[Request],
        decoding: Decoding,
        ends: Ends,
        size: int,
        on_done: OnDone = _unheard,
    ) -> list[list[int]]:
        """Return the token ids of the responses, in the order of the requests."""
        ...


def in_batches(
    model: Any,
    requests: Sequence[Request],
    decoding: Decoding,
    ends: Ends,
    size: int,
    on_done: OnDone = _unheard,
) -> list[list[int]]:
    """Decode so many requests at a time, padded; a batch lasts as long as its longest response.

    Args:
        model: a causal language model, with adapters or without.
        requests: answered in batches of about one length.
        decoding: temperature and truncation.
        ends: the special tokens.
        size: requests of a batch.
        on_done: receives progress.

    Returns:
        The token ids of the responses, each with its end token unless it has reached its limit.
    """
    order = sorted(range(len(requests)), key=lambda number: -len(requests[number].prompt))
    responses: dict[int, list[int]] = {}
    with generation_mode(model) as base, torch.no_grad():
        for start in range(0, len(order), size):
            numbers = order[start : start + size]
            batch = [requests[number] for number in numbers]
            responses |= zip(numbers, _batch(base, batch, decoding, ends), strict=True)
            on_done(len(numbers))
    return [responses[number] for number in range(len(requests))]


def _batch(
    base: Any, requests: Sequence[Request], decoding: Decoding, ends: Ends
) -> list[list[int]]:
    prompts = [[*request.prompt] for request in requests]
    longest, limits = max(map(len, prompts)), [request.limit for request in requests]
    padded = [[ends.pad] * (longest - len(prompt)) + prompt for prompt in prompts]
    lengths = torch.tensor([[len(prompt)] for prompt in prompts])
    mask = (torch.arange(longest) >= longest - lengths).long()
    generated = base.generate(
        torch.tensor(padded, device=base.device),
        attention_mask=mask.to(base.device),
        generation_config=_config(
            max_new_tokens=max(limits),
            eos_token_id=ends.end,
            pad_token_id=ends.pad,
            do_sample=False,  # the argmax after the processors below
            use_cache=True,
        ),
        logits_processor=LogitsProcessorList(
            [*_truncations(decoding), *_draw_from(requests, decoding, longest)]
        ),
        stopping_criteria=StoppingCriteriaList([_LengthLimits(limits, longest)]),
    )
    rows = generated[:, longest:].tolist()
    return [ends.cut(row[:limit]) for row, limit in zip(rows, limits, strict=True)]


def continuously(
    model: Any,
    requests: Sequence[Request],
    decoding: Decoding,
    ends: Ends,
    size: int,
    on_done: OnDone = _unheard,
) -> list[list[int]]:
    """Do as :func:`in_batches`, but let the next request in as soon as one is answered.

    transformers' continuous batching: a paged cache, no padding.

    Args:
        model: a causal language model whose attention can read a paged cache.
        requests: answered in this order; the longest prompts first make the best use of the cache.
        decoding: temperature and truncation.
        ends: the special tokens.
        size: the most requests at a time.
        on_done: receives progress.

    Raises:
        AdakdError: the model does not bear continuous batching, or gives other answers so.
    """
    check_pages(model)
    try:
        with (
            generation_mode(model) as base,
            torch.no_grad(),
            _undisturbed(base.device),
            _same_attention(base),
        ):
            _check_answers(base, requests, ends)
            return _continuous(base, requests, decoding, ends, size, on_done)
    except (RuntimeError, ValueError, AttributeError, TypeError) as error:
        raise _refusal(model, one_line(error)) from error


def check_pages(model: Any) -> None:
    """Check that a model's attention can read a paged cache; weights are not needed.

    Raises:
        AdakdError: it cannot.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    # Others have attention of their own, such as ALiBi, which a paged cache would silently drop.
    if not (base._supports_sdpa and base._supports_attention_backend) or base._is_stateful:
        raise _refusal(base, "its attention cannot read a paged cache")


def _refusal(model: Any, why: str) -> AdakdError:
    return AdakdError(
        f"evaluation.engine: {type(model).__name__} cannot be decoded by continuous batching "
        f"({why}); set evaluation.engine: batches"
    )


_checked: set[tuple[type, torch.dtype, str]] = set()
"""Kinds of models whose answers have been compared in this process."""


def _check_answers(base: Any, requests: Sequence[Request], ends: Ends) -> None:
    """Compare the starts of a few answers, once for each architecture, precision and attention.

    Raises:
        ValueError: most of them differ, so this is more than rounding.
    """
    kind = (type(base), base.dtype, str(base.config._attn_implementation))
    if kind in _checked:
        return
    step = max(1, len(requests) // 4)
    few = [
        Request(one.prompt, min(one.limit, 8), one.stream)
        for one in sorted(requests, key=lambda one: len(one.prompt))[::step][:4]
    ]
    greedy = Decoding(temperature=0)
    ours = _continuous(base, few, greedy, ends, len(few), _unheard)
    equal = sum(map(eq, ours, in_batches(base, few, greedy, ends, len(few))))
    if 2 * equal < len(few):
        raise ValueError(f"{len(few) - equal} of {len(few)} answers differ from those in batches")
    _checked.add(kind)


@contextmanager
def _same_attention(base: Any) -> Iterator[None]:
    """Keep a model's attention, also where continuous batching fails before its first step."""
    before = base.config._attn_implementation
    try:
        yield
    finally:
        if base.config._attn_implementation != before:
            base.set_attn_implementation(before)


@contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Keep the global random state, which continuous batching seeds."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def _continuous(
    base: Any,
    requests: Sequence[Request],
    decoding: Decoding,
    ends: Ends,
    size: int,
    on_done: OnDone,
) -> list[list[int]]:
    manager = base.init_continuous_batching(
        generation_config=_config(
            max_new_tokens=max(request.limit for request in requests),
            eos_token_id=ends.end,
            pad_token_id=ends.pad,
            do_sample=False,  # the argmax after the processors below
        ),
        continuous_batching_config=_cache(base, requests, size),
    )
    manager.logit_processor = _processors(requests, decoding)
    order = sorted(range(len(requests)), key=lambda number: -len(requests[number].prompt))
    for number in order:  # all before the first step, so that every run has the same steps
        request = requests[number]
        manager.add_request([*request.prompt], str(number), max_new_tokens=request.limit)
    responses: dict[int, list[int]] = {}
    manager.start()
    try:
        while len(responses) < len(requests):
            result = manager.get_result(timeout=1)
            if result is None and not manager.is_running():
                raise RuntimeError("its thread has ended")
            if result is not None and result.is_finished():
                if result.error is not None:
                    raise RuntimeError(result.error)
                responses[int(result.request_id)] = ends.cut([*result.generated_tokens])
                on_done(1)
    finally:
        manager.stop(block=True, hard_stop=len(responses) < len(requests))
        manager.destroy()
    return [responses[number] for number in range(len(requests))]


def _cache(base: Any, requests: Sequence[Request], size: int) -> ContinuousBatchingConfig:
    """Return the settings of a cache that holds the longest requests, so many at a time.

    Nothing is left to the memory that happens to be free: it would decide the batches, and their
    sizes the rounding.
    """
    kinds = set(getattr(base.config.get_text_config(), "layer_types", None) or ["full_attention"])
    pages = sorted(-(-(len(one.prompt) + one.limit + 1) // _PAGE) for one in requests)
    return ContinuousBatchingConfig(
        page_size=_PAGE,
        num_blocks=len(kinds) * (sum(pages[-size:]) + 1),
        max_batch_tokens=max(size, _BATCH_TOKENS),
        max_requests_per_batch=size,
        allow_block_sharing=False,
        auto_switch_to_flash=base.device.type == "cuda",
    )


DECODERS: Mapping[str, Decoder] = {"batches": in_batches, "continuous": continuously}
"""The engines of this process, by their names in ``evaluation.engine``."""


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


def _truncations(decoding: Decoding) -> list[LogitsProcessor]:
    chosen: list[LogitsProcessor] = []
    if decoding.temperature not in (0, 1):
        chosen.append(TemperatureLogitsWarper(decoding.temperature))
    if decoding.top_k:
        chosen.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        chosen.append(TopPLogitsWarper(decoding.top_p))
    return chosen


def _draw_from(
    requests: Sequence[Request], decoding: Decoding, prompt: int
) -> list[LogitsProcessor]:
    if not decoding.temperature:
        return []
    longest = max(request.limit for request in requests)
    drawn = [
        [*_first(request.draws(), request.limit), *[0.0] * (longest - request.limit)]
        for request in requests
    ]
    return [_InverseSampling(torch.tensor(drawn, dtype=torch.float32), prompt)]


def _first(draws: Iterator[float], count: int) -> list[float]:
    return [next(draws) for _ in range(count)]


def _chosen(scores: Tensor, draws: Tensor) -> Tensor:
    """Leave one token a row: the first whose cumulative probability exceeds the row's draw.

    Args:
        scores: ``(B, V)``.
        draws: ``(B, 1)``.
    """
    cumulated = scores.float().softmax(-1).cumsum(-1)
    token = (cumulated <= draws * cumulated[:, -1:]).sum(-1, keepdim=True)
    return torch.full_like(scores, -torch.inf).scatter(-1, token, 0.0)


class _InverseSampling(LogitsProcessor):
    """Leaves the token that is drawn, of a padded batch."""

    def __init__(self, draws: Tensor, prompt: int) -> None:
        self.draws, self.prompt = draws, prompt

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        return _chosen(scores, self.draws[:, input_ids.shape[1] - self.prompt, None].to(scores))


class _StreamSampling(ContinuousBatchingLogitsProcessor):
    """Leaves the token that is drawn, of the requests that happen to be decoded together."""

    supported_kwargs: dict[str, type] = {}  # noqa: RUF012  # as its base has it
    ignored_kwargs = ()

    def __init__(self, requests: Sequence[Request]) -> None:
        self.draws = {str(number): request.draws() for number, request in enumerate(requests)}

    def fill_defaults(self, int32_tensor: Tensor) -> None:
        """Fill in a draw for the rows that hold no request."""
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: Any) -> Tensor:
        """Return the next draw of each request that gets a token, as transformers stores it."""
        names = [request.state.request_id for request in requests_with_new_token]
        drawn = torch.tensor([next(self.draws[name]) for name in names], dtype=torch.float32)
        return drawn.view(dtype=torch.int32)

    def __call__(self, scores: Tensor, tensor_arg: Tensor) -> Tensor:
        return _chosen(scores, tensor_arg[: len(scores), None].view(dtype=torch.float32))


def _processors(requests: Sequence[Request], decoding: Decoding) -> Any:
    """Return the logits processors of continuous batching, the draw last."""
    drawn = [_StreamSampling(requests)] if decoding.temperature else []
    made = ContinuousBatchingLogitsProcessorList(
        LogitsProcessorList([*_truncations(decoding), *drawn])
    )
    made.tensors_required = len(drawn)
    return made


class _LengthLimits(StoppingCriteria):
    """Ends each row at its own limit."""

    def __init__(self, limits: Sequence[int], prompt: int) -> None:
        self.limits, self.prompt = torch.tensor(limits), prompt

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        return (self.limits <= input_ids.shape[1] - self.prompt).to(input_ids.device)
