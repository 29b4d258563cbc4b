"""Several continuations of one prompt, which is read once: by the model's key-value cache."""

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adakd.models.forward import selected_positions

PADDED, FEW = 1 / 3, 8
"""Rows are read together up to this share of padding in the shortest, or up to so many tokens."""


class Prompt(NamedTuple):
    """The token ids of a prompt and of what may come after it, each of at least one token."""

    context: Sequence[int]
    continuations: Sequence[Sequence[int]]


@torch.inference_mode()
def shared_logits(model: Any, prompts: Sequence[Prompt]) -> Tensor:
    """Return the logits of all tokens of all continuations, in their order, of shape (N, V).

    Prompts are padded on the left, and their keys and values are repeated for each continuation.
    Continuations of about one length are read together: one long answer would pad all others.

    Args:
        model: a causal language model in evaluation mode.
        prompts: what is read together.

    Raises:
        TypeError: the model has no cache that can be repeated.
    """
    device = model.device
    lengths = torch.tensor([len(context) for context, _ in prompts])
    width = int(lengths.max())
    inputs = torch.zeros(len(prompts), width, dtype=torch.long)
    for number, (context, _) in enumerate(prompts):
        inputs[number, width - len(context) :] = torch.tensor(context)
    seen = (torch.arange(width) >= width - lengths[:, None]).long()
    places = (seen.cumsum(-1) - 1).clamp(min=0)
    last = torch.zeros_like(seen, dtype=torch.bool)
    last[:, -1] = True
    first, cache = _read(model, inputs, seen, places, last)
    rows = [(owner, row) for owner, (_, rows) in enumerate(prompts) for row in rows]
    parts = [[first[owner][None]] for owner, _ in rows]
    longer = [number for number, (_, row) in enumerate(rows) if len(row) > 1]
    longer.sort(key=lambda number: len(rows[number][1]), reverse=True)
    batches = [longer[one] for one in alike([len(rows[number][1]) for number in longer])]
    for batch in batches:
        owners = torch.tensor([rows[number][0] for number in batch])
        # A pass leaves its own tokens in the cache that it is given.
        own = cache if batch is batches[-1] else copy.deepcopy(cache)
        own.reorder_cache(owners.to(device))
        given = [rows[number][1][:-1] for number in batch]
        rest = _rest(model, given, own, seen[owners], lengths[owners])
        for number, part in zip(batch, rest, strict=True):
            parts[number].append(part)
    return torch.cat([part for of in parts for part in of])


def alike(sizes: Sequence[int]) -> Iterator[slice]:
    """Yield slices of rows that are read together with little padding.

    Args:
        sizes: tokens of the rows, the longest first.
    """
    start = 0
    for number, size in enumerate(sizes):
        if sizes[start] - size > max(FEW, PADDED * sizes[start]):
            yield slice(start, number)
            start = number
    if sizes:
        yield slice(start, len(sizes))


def _rest(
    model: Any, rows: Sequence[Sequence[int]], cache: Any, seen: Tensor, before: Tensor
) -> Sequence[Tensor]:
    """Return the logits at every token of rows that follow what is in the cache.

    Args:
        model: whose cache it is.
        rows: token ids.
        cache: of the prompt of each row.
        seen: which tokens of the prompts are no padding, of shape (rows, width).
        before: number of these, of shape (rows,).
    """
    sizes = [len(row) for row in rows]
    inputs = torch.zeros(len(rows), max(sizes), dtype=torch.long)
    asked = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    for number, row in enumerate(rows):
        inputs[number, : len(row)] = torch.tensor(row)
    # Padding is on the right, unseen by any token; its positions must exist all the same.
    places = before[:, None] + torch.arange(max(sizes))
    places = places.clamp(max=int(places[asked].max()))
    seen = torch.cat([seen, torch.ones_like(inputs)], -1)
    logits, _ = _read(model, inputs, seen, places, asked, cache)
    return logits.split_with_sizes(sizes)


def _read(
    model: Any, inputs: Tensor, seen: Tensor, places: Tensor, asked: Tensor, cache: Any = None
) -> tuple[Tensor, Any]:
    """Return the logits at the asked positions and the cache after reading tokens."""
    device = model.device
    options = {"past_key_values": cache} if cache is not None else {}
    if "position_ids" in inspect.signature(model.forward).parameters:
        options["position_ids"] = places.to(device)
    with selected_positions(model, asked.to(device)):
        found = model(
            input_ids=inputs.to(device),
            attention_mask=seen.to(device),
            use_cache=True,
            **options,
        )
    cache = getattr(found, "past_key_values", None)
    if not hasattr(cache, "reorder_cache"):
        raise TypeError(f"{type(model).__name__} has no key-value cache")
    return found.logits.reshape(-1, found.logits.shape[-1]), cache
