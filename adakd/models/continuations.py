"""Several continuations of one prompt, which is read once: by the model's key-value cache."""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adakd.models.forward import selected_positions


class Prompt(NamedTuple):
    """The token ids of a prompt and of what may come after it, each of at least one token."""

    context: Sequence[int]
    continuations: Sequence[Sequence[int]]


@torch.inference_mode()
def shared_logits(model: Any, prompts: Sequence[Prompt]) -> Tensor:
    """Return the logits of all tokens of all continuations, in their order, of shape (N, V).

    Prompts are padded on the left, and their keys and values are repeated for each continuation.

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
    owners = torch.tensor([n for n, (_, rows) in enumerate(prompts) for _ in rows])
    rows = [row for _, rows in prompts for row in rows]
    sizes = [len(row) - 1 for row in rows]
    first = first[owners.to(device)]
    if not (longest := max(sizes)):
        return first
    inputs = torch.zeros(len(rows), longest, dtype=torch.long)
    asked = torch.arange(longest) < torch.tensor(sizes)[:, None]
    for number, row in enumerate(rows):
        inputs[number, : len(row) - 1] = torch.tensor(row[:-1], dtype=torch.long)
    # Padding is on the right, unseen by any token; its positions must exist all the same.
    places = lengths[owners][:, None] + torch.arange(longest)
    places = places.clamp(max=int(places[asked].max()))
    seen = torch.cat([seen[owners], torch.ones_like(inputs)], -1)
    cache.reorder_cache(owners.to(device))
    rest, _ = _read(model, inputs, seen, places, asked, cache)
    parts = zip(first[:, None], rest.split_with_sizes(sizes), strict=True)
    return torch.cat([part for both in parts for part in both])


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
