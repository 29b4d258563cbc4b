"""Outputs of a model at the valid positions of a batch: hidden states, or else logits.

The LM head is the most expensive layer of a small model, and its output the largest tensor of a
step. If it is a plain matrix, the loss engine applies it itself, to a few tokens at a time.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from adakd.errors import AdakdError
from adakd.losses.blocks import LogitScaling
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.models.sharding import is_sharded

Batch = Mapping[str, Tensor]
"""``input_ids`` and ``attention_mask``, each of shape ``(B, L)``, among others."""
_log = logging.getLogger(__name__)
_scalings: "WeakKeyDictionary[nn.Module, LogitScaling | str]" = WeakKeyDictionary()
"""For each model what follows its LM head, or the reason why its head cannot be separated."""


def response(model: Any, batch: Batch, valid: Tensor) -> Tensor | HiddenStates:
    """Return a model's outputs at the N valid positions.

    They are hidden states ``(N, d)`` and the LM head if these give the model's logits, otherwise
    logits ``(N, V)``; the reason is then logged once for each model.

    Args:
        model: a causal language model, wrapped or not.
        batch: the model's input.
        valid: mask of the valid positions, ``(B, L)``.
    """
    scaling, layer, captured = _known_scaling(model, batch), _head(model), list[HiddenStates]()
    if isinstance(scaling, str):
        return response_logits(model, batch, valid)

    def capture(states: Tensor) -> Tensor:
        device = states.device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        head = LMHead(layer.weight, layer.bias, scaling)  # whole in here, if it is sharded
        captured.append(HiddenStates(states[valid], head, precision))
        return states[..., :0].clone()  # not a view, of which FSDP warns

    with _replaced(layer, capture):
        _run(model, batch)
    return captured[0]


def head_of(model: Any, batch: Batch) -> LMHead | str:
    """Return the LM head of a model, or why it cannot be separated, which is logged once.

    Args:
        model: a causal language model, wrapped or not.
        batch: any input for it.
    """
    scaling, head = _known_scaling(model, batch), _head(model)
    return scaling if isinstance(scaling, str) else LMHead(head.weight, head.bias, scaling)


def _known_scaling(model: Any, batch: Batch) -> LogitScaling | str:
    """Return the operation after the LM head, or why that cannot be separated; found out once."""
    model = _shared(model)
    if model not in _scalings:
        found = _scalings[model] = _scaling(model, batch)
        if isinstance(found, str):
            _log.warning("%s: the loss takes all logits at once, %s", type(model).__name__, found)
    return _scalings[model]


def response_logits(model: Any, batch: Batch, valid: Tensor) -> Tensor:
    """Return the logits of the valid positions alone, of shape (N, V).

    The rows are selected before the output layer, so the logits of prompts and padding are never
    computed; everything that the model does after that layer applies.
    """
    with selected_positions(model, valid):
        logits = _run(model, batch)
    return logits.reshape(-1, logits.shape[-1])


@contextmanager
def selected_positions(model: Any, valid: Tensor) -> Iterator[None]:
    """Let the LM head of a model see the valid positions alone inside the block."""
    handle = _head(model).register_forward_pre_hook(
        lambda _, inputs: (inputs[0][valid], *inputs[1:])
    )
    try:
        yield
    finally:
        handle.remove()


def _run(model: Any, batch: Batch) -> Tensor:
    logits: Tensor = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    ).logits
    return logits


def _shared(model: Any) -> Any:
    """Return the model that several processes train, each of which has all of it."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def _head(model: Any) -> Any:
    unwrapped = getattr(model, "module", model)  # of any wrapper
    head = unwrapped.get_output_embeddings()
    if head is None:
        raise AdakdError(
            f"{type(unwrapped).__name__} has no output layer: it is not a causal language model"
        )
    return head


def _scaling(model: Any, batch: Batch) -> LogitScaling | str:
    """Return the operation after the LM head of a model, or why it is not known."""
    reason = _not_plain(model, _head(model))
    if reason:
        return reason
    scaling = _declared(model)
    if not _as_declared(model, scaling, batch):
        return "since the model changes its output in an unknown way"
    return scaling


def _not_plain(model: Any, head: Any) -> str | None:
    """Return why an LM head cannot be separated from its model, if so."""
    if hasattr(model, "module") or hasattr(model, "_orig_mod"):
        return "since the model is wrapped for several devices or compiled"
    if type(head) is not nn.Linear:
        return f"since its output layer is a {type(head).__name__}"
    weight = head.weight
    sharded = hasattr(weight, "ds_id") or (isinstance(weight, DTensor) and not is_sharded(model))
    if sharded or weight.shape != (head.out_features, head.in_features):
        return "since the weight of its output layer is sharded"
    if hasattr(head, "_hf_hook"):
        return "since its output layer is moved between devices"
    return None


def _declared(model: Any) -> LogitScaling:
    """Return the operation after the LM head according to the configuration."""
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0
    scale /= getattr(config, "logits_scaling", None) or 1.0
    return LogitScaling(scale, getattr(config, "final_logit_softcapping", None))


def _as_declared(model: Any, scaling: LogitScaling, batch: Batch) -> bool:
    """Check on one token whether the model applies `scaling` to its LM head's output."""
    head, calls = _head(model), list[Tensor]()

    def probe(states: Tensor) -> Tensor:
        steps = torch.linspace(-100, 100, len(head.weight), device=states.device)
        calls.append(steps.expand(*states.shape[:-1], -1))
        return calls[-1]

    token, device = batch["input_ids"][:1, :1], head.weight.device
    first = {"input_ids": token, "attention_mask": torch.ones_like(token)}
    # Dropout must not advance the random state of the training.
    here = torch.random.fork_rng([] if device.type == "cpu" else [device])
    with torch.no_grad(), here, _replaced(head, probe):
        logits = _run(model, first).float()
    if len(calls) != 1 or logits.shape != calls[0].shape:
        return False
    return torch.allclose(logits, scaling(calls[0]), rtol=1e-3, atol=1e-4)


@contextmanager
def _replaced(layer: Any, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace the forward pass of a layer inside the block."""
    before = vars(layer).get("forward")
    layer.forward = forward
    try:
        yield
    finally:
        if before is None:
            del layer.forward
        else:
            layer.forward = before
