"""Differentiate any divergence: by its declared derivative, or by autograd on a block."""

import torch
from torch import Tensor

from adakd.divergences.base import Divergence, declared_derivative
from adakd.divergences.pair import FLOOR, Pair


def differentiate(function: Divergence, pair: Pair) -> tuple[Tensor, Tensor]:
    """Return the values ``(B,)`` and their derivative by the student's logits ``(B, V)``."""
    declared = declared_derivative(function)
    if declared is None or pair.ruled_out:
        return autograd_derivative(function, pair)
    return declared(pair)


def autograd_derivative(function: Divergence, pair: Pair) -> tuple[Tensor, Tensor]:
    """Differentiate by autograd, ignoring declarations; 0 where `function` has no gradient."""
    with torch.enable_grad():
        student = pair.log_q.detach().requires_grad_()
        values = function(student, pair.log_p)
        if not values.requires_grad:
            return values, torch.zeros_like(student)
        (slope,) = torch.autograd.grad(values.sum(), student)
    if pair.ruled_out:
        slope = slope.masked_fill(student <= FLOOR, 0)
    return values.detach(), pair.by_logits(slope)
