"""Logits in factored form: hidden states and the LM head that projects them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from adakd.losses.blocks import UNSCALED, LogitScaling


@dataclass(frozen=True)
class LMHead:
    """The output layer of a model and the scaling of its output."""

    weight: Tensor
    """Of shape ``(V, d)``."""
    bias: Tensor | None = None
    """Of shape ``(V,)``."""
    scaling: LogitScaling = UNSCALED

    def to(self, device: torch.device, dtype: torch.dtype) -> "LMHead":
        """Return a detached copy on another device and in another precision."""
        bias = None if self.bias is None else self.bias.detach().to(device, dtype)
        return LMHead(self.weight.detach().to(device, dtype), bias, self.scaling)

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits of hidden states as the model computes them."""
        raw = F.linear(states, self.weight, self.bias)
        return self.scaling(raw) if self.scaling else raw


@dataclass(frozen=True)
class HiddenStates:
    """Final hidden states with their LM head, in place of logits.

    The objective computes the logits a group of tokens at a time and, for a student, the gradient
    with respect to states and head. A teacher's states may come from a cache; its head is never
    trained.
    """

    states: Tensor
    """Of shape ``(..., d)``."""
    head: LMHead
    precision: torch.dtype | None = None
    """Precision of the matrix products with the head; None for that of its weight."""

    @property
    def shape(self) -> torch.Size:
        """The shape of the logits."""
        return torch.Size([*self.states.shape[:-1], len(self.head.weight)])
