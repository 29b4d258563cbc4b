"""Logits that are not computed yet: hidden states, and the head that makes logits of them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from adakd.losses.blocks import UNSCALED, LogitScaling


@dataclass(frozen=True)
class LMHead:
    """The output layer of a model, and what the model does to the layer's output."""

    weight: Tensor
    """Of shape ``(V, d)``."""
    bias: Tensor | None = None
    """Of shape ``(V,)``."""
    scaling: LogitScaling = UNSCALED

    def to(self, device: torch.device, dtype: torch.dtype) -> "LMHead":
        """Return the same head elsewhere, in another precision; not to be trained."""
        bias = None if self.bias is None else self.bias.detach().to(device, dtype)
        return LMHead(self.weight.detach().to(device, dtype), bias, self.scaling)

    def logits(self, states: Tensor) -> Tensor:
        """Return the finished logits of hidden states, as the model would."""
        raw = F.linear(states, self.weight, self.bias)
        return self.scaling(raw) if self.scaling else raw


@dataclass(frozen=True)
class HiddenStates:
    """Logits as hidden states and a head: the objective takes them wherever it takes logits.

    It then computes them a group of tokens at a time and, for a student, the gradient of states
    and head with them. A teacher's states may come from a cache; its head is never trained.
    """

    states: Tensor
    """Of shape ``(..., d)``."""
    head: LMHead
    precision: torch.dtype | None = None
    """Of the products with the head; None is that of its weight."""

    @property
    def shape(self) -> torch.Size:
        """The shape of the logits."""
        return torch.Size([*self.states.shape[:-1], len(self.head.weight)])
