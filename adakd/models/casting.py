"""Copies of a model's weights in another precision, for a while."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def computing_in(model: Any, precision: torch.dtype) -> Iterator[None]:
    """Give a model copies of its weights in a precision inside the block.

    So a model in training decodes as one that is loaded to be scored: no operation casts weights
    again, and the key-value cache has that precision too. The parameters themselves, which an
    optimizer and gradient hooks hold, are not touched. Buffers, such as the frequencies of rotary
    positions, keep their precision.

    Args:
        model: any module; layers that share a parameter share its copy.
        precision: of the copies; a model that has it already is left as it is.
    """
    copies = {
        id(own): nn.Parameter(own.detach().to(precision), requires_grad=False)
        for own in model.parameters()
        if own.is_floating_point() and own.dtype != precision
    }
    with weights_replaced(model, copies):
        yield


@contextmanager
def weights_replaced(model: Any, copies: Mapping[int, nn.Parameter]) -> Iterator[None]:
    """Give a model other weights inside the block.

    Args:
        model: any module.
        copies: the other weights, by the ids of its parameters; those that are missing stay.
    """
    places = [
        (module, name, own)
        for module in model.modules()
        for name, own in module._parameters.items()
        if own is not None and id(own) in copies
    ]
    try:
        for module, name, own in places:
            module._parameters[name] = copies[id(own)]
        yield
    finally:
        for module, name, own in places:
            module._parameters[name] = own
