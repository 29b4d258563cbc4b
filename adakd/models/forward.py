"""What a model says about the counted positions of a batch: hidden states, or else logits.

The head is the most expensive layer of a small model, and its output the largest tensor of a step.
Where it is a plain matrix the loss engine applies it itself, to a few tokens at a time.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from adakd.errors import AdakdError
from adakd.losses.blocks import LogitScaling
from adakd.losses.lm_head import HiddenStates, LMHead

Batch = Mapping[str, Tensor]
"""``input_ids`` and ``attention_mask``, each of shape ``(B, L)``, among others."""
_log = logging.getLogger(__name__)
_finishes: "WeakKeyDictionary[nn.Module, LogitScaling | str]" = WeakKeyDictionary()
"""What was found out about each model; a reason where the head has to be left to the model."""


def response(model: Any, batch: Batch, counted: Tensor) -> Tensor | HiddenStates:
    """Return a model's answer at the counted positions, N of them.

    It is hidden states ``(N, d)`` and the head where these make the model's logits, else logits
    ``(N, V)``; the reason for that is logged once for each model.

    Args:
        model: a causal language model, wrapped or not.
        batch: what the model reads.
        counted: which positions count, ``(B, L)``.
    """
    head, seen = head_of(model, batch), list[HiddenStates]()
    if isinstance(head, str):
        return response_logits(model, batch, counted)

    def remember(states: Tensor) -> Tensor:
        device = states.device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        seen.append(HiddenStates(states[counted], head, precision))
        return states[..., :0]

    with _replaced(_head(model), remember):
        _run(model, batch)
    return seen[0]


def head_of(model: Any, batch: Batch) -> LMHead | str:
    """Return the head of a model, or why it has to be left to the model; logged once for each.

    Args:
        model: a causal language model, wrapped or not.
        batch: something that it can read.
    """
    if model not in _finishes:
        found = _finishes[model] = _finish(model, batch)
        if isinstance(found, str):
            _log.warning("%s: the loss takes whole logits, %s", type(model).__name__, found)
    finish, head = _finishes[model], _head(model)
    return finish if isinstance(finish, str) else LMHead(head.weight, head.bias, finish)


def response_logits(model: Any, batch: Batch, counted: Tensor) -> Tensor:
    """Return the logits of the counted positions alone, of shape (N, V).

    The rows are picked in front of the output layer, so the logits of prompts and padding are
    never computed; whatever the model does after that layer is kept.
    """
    handle = _head(model).register_forward_pre_hook(
        lambda _, inputs: (inputs[0][counted], *inputs[1:])
    )
    try:
        logits = _run(model, batch)
    finally:
        handle.remove()
    return logits.reshape(-1, logits.shape[-1])


def _run(model: Any, batch: Batch) -> Tensor:
    logits: Tensor = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    ).logits
    return logits


def _head(model: Any) -> Any:
    unwrapped = getattr(model, "module", model)  # DistributedDataParallel hides the model there
    head = unwrapped.get_output_embeddings()
    if head is None:
        raise AdakdError(f"{type(unwrapped).__name__} has no output layer: not a causal model")
    return head


def _finish(model: Any, batch: Batch) -> LogitScaling | str:
    """Return what follows the head of a model, or why that is not known."""
    reason = _not_plain(model, _head(model))
    if reason:
        return reason
    finish = _declared(model)
    if not _as_declared(model, finish, batch):
        return "since the model does something else to its output"
    return finish


def _not_plain(model: Any, head: Any) -> str | None:
    """Return why a head cannot be taken from its model, if so."""
    if hasattr(model, "module") or hasattr(model, "_orig_mod"):
        return "since the model is wrapped for several devices or compiled"
    if type(head) is not nn.Linear:
        return f"since its output layer is a {type(head).__name__}"
    weight = head.weight
    sharded = hasattr(weight, "placements") or hasattr(weight, "ds_id")
    if sharded or weight.shape != (head.out_features, head.in_features):
        return "since the weight of its output layer is sharded"
    if hasattr(head, "_hf_hook"):
        return "since its output layer is moved between devices"
    return None


def _declared(model: Any) -> LogitScaling:
    """Return what the configuration says about the output of the head."""
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0
    scale /= getattr(config, "logits_scaling", None) or 1.0
    return LogitScaling(scale, getattr(config, "final_logit_softcapping", None))


def _as_declared(model: Any, finish: LogitScaling, batch: Batch) -> bool:
    """Tell whether the model makes `finish` of its head's output: one word is read to see it."""
    head, calls = _head(model), list[Tensor]()

    def probe(states: Tensor) -> Tensor:
        steps = torch.linspace(-100, 100, len(head.weight), device=states.device)
        calls.append(steps.expand(*states.shape[:-1], -1))
        return calls[-1]

    word, device = batch["input_ids"][:1, :1], head.weight.device
    first = {"input_ids": word, "attention_mask": torch.ones_like(word)}
    # Dropout must not move the random numbers of the training.
    here = torch.random.fork_rng([] if device.type == "cpu" else [device])
    with torch.no_grad(), here, _replaced(head, probe):
        logits = _run(model, first).float()
    if len(calls) != 1 or logits.shape != calls[0].shape:
        return False
    return torch.allclose(logits, finish(calls[0]), rtol=1e-3, atol=1e-4)


@contextmanager
def _replaced(layer: Any, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let a layer do something else for a while."""
    before = vars(layer).get("forward")
    layer.forward = forward
    try:
        yield
    finally:
        if before is None:
            del layer.forward
        else:
            layer.forward = before
