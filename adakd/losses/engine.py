"""Compute a loss and its gradient together, from logits or from hidden states and LM heads.

The gradient is computed along with the loss and stored for ``backward()``: there is no autograd
graph of [tokens, vocabulary] tensors. The work has two levels. Logits come in groups: given logits
are one group; with an LM head a group has as many rows as a memory budget allows, to keep its
matrix products large. Within a group :mod:`~adakd.losses.blocks` processes a few rows at a time, or
a Triton kernel one row per program.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from adakd.adaptive import Adaptive, TokenSelection
from adakd.errors import AdakdError
from adakd.losses.blocks import TORCH, RowFunctions, SelectedTokens, Term, working_dtype
from adakd.losses.logits import Gradients, LogitSource, token_groups
from adakd.losses.score_gradient import differentiable
from adakd.losses.traced import Traced

BUDGET = 256 * 1024**2
"""Bytes for the logits of both LM heads where hidden states are given, on a CPU. If all tokens of a
batch fit, an adaptive method's second pass reuses the logits of the first; otherwise it recomputes
those of the selected tokens. In 16 bits and with a vocabulary of 49,152, 1365 tokens fit."""
SHARE = 16
"""On a GPU they may take one part in so many of its memory: large products fill it better."""


@cache
def budget_on(device: torch.device) -> int:
    """Return the bytes that the logits of both LM heads may take on a device."""
    if device.type == "cpu":
        return BUDGET
    properties = getattr(torch.get_device_module(device), "get_device_properties", None)
    return BUDGET if properties is None else max(BUDGET, properties(device).total_memory // SHARE)


def score_tokens(
    adaptive: Adaptive,
    student: LogitSource,
    teacher: LogitSource,
    labels: Tensor,
    budget: int = BUDGET,
    by: RowFunctions = TORCH,
) -> Tensor:
    """Return an adaptive method's scores of the valid tokens of a batch, without gradient."""
    row_bytes = student.row_bytes + teacher.row_bytes
    with torch.no_grad(), torch.autocast(labels.device.type, enabled=False):
        if len(labels) * row_bytes <= budget:
            student.hold()
            teacher.hold()
        scores = [
            by.score_rows(adaptive, student.rows(index), teacher.rows(index), labels[at])
            for at, index in token_groups(labels, None, row_bytes, budget)
        ]
        return torch.cat(scores)


def select_tokens(
    adaptive: Adaptive,
    student: LogitSource,
    teacher: LogitSource,
    labels: Tensor,
    budget: int = BUDGET,
    by: RowFunctions = TORCH,
) -> TokenSelection:
    """Return an adaptive method's selection among the valid tokens of a batch.

    Its temperatures carry a gradient by the student's inputs if the method differentiates scores.

    Raises:
        AdakdError: the selected positions are not ascending.
    """
    score = score_tokens(adaptive, student, teacher, labels, budget, by)
    if adaptive.differentiates_scores:
        score = differentiable(score, adaptive, student, teacher, labels, budget)
    return select_by_scores(adaptive, score)


def select_by_scores(adaptive: Adaptive, scores: Tensor) -> TokenSelection:
    """Return an adaptive method's selection, given the scores of all tokens.

    Raises:
        AdakdError: the selected positions are not ascending.
    """
    with torch.autocast(scores.device.type, enabled=False):
        selection = adaptive.select(scores)
    if not bool((selection.positions.diff() > 0).all()):
        raise AdakdError("an adaptive method must return its selected positions in ascending order")
    return selection


def mean_loss(
    term: Term,
    student: LogitSource,
    teacher: LogitSource | None,
    labels: Tensor,
    selection: TokenSelection | None = None,
    budget: int = BUDGET,
    traced: Traced | None = None,
    by: RowFunctions = TORCH,
) -> Tensor:
    r"""Return :math:`\frac{1}{K} \sum_{i \in selected} w_i\, \tau_i^2\, D_i`, with its gradient.

    Args:
        term: the value of a token and its derivative.
        student: the logits to differentiate with respect to.
        teacher: the logits to learn from; None where `term` needs none.
        labels: labels of the valid tokens, at least one.
        selection: the selected tokens with their temperatures and weights; None for all tokens,
            unweighted, at temperature 1.
        budget: bytes that the logits of LM heads may take.
        traced: replaces `term` where `selection` has a transform or a learned temperature.
        by: the functions that compute rows.
    """
    positions = (
        None
        if selection is None or len(selection.positions) == len(labels)
        else selection.positions
    )
    learned = tau = None if selection is None else selection.temperature
    if tau is not None:
        learned, tau = tau if tau.requires_grad else None, tau.detach()
    labels = labels if positions is None else labels[positions]
    dtypes = [student.dtype] if teacher is None else [student.dtype, teacher.dtype]
    factor = torch.ones(len(labels), dtype=working_dtype(*dtypes), device=labels.device)
    if tau is not None:
        factor = factor * tau.square()
    if selection is not None and selection.weight is not None:
        factor = factor * selection.weight
    late = _late(student, len(labels))
    row_bytes = student.row_bytes + (0 if teacher is None else teacher.row_bytes)

    def compute(needed: tuple[bool, ...]) -> tuple[Tensor, Gradients]:
        by_tau, *by_inputs = needed
        gradient = student.gradient(tuple(by_inputs), len(labels)) if any(needed) else None
        values, slopes = [], []
        for at, index in token_groups(labels, positions, row_bytes, budget):
            logits = student.rows(index)
            tokens = SelectedTokens(
                student=logits,
                teacher=None if teacher is None else teacher.rows(index),
                labels=labels[at],
                temperature=None if tau is None else tau[at],
                factor=factor[at] * late / len(labels),
            )
            out = None if gradient is None else gradient.rows(index, logits)
            if traced is None:
                values.append(by.loss_rows(term, tokens, out))
            else:
                value, slope = traced.rows(tokens, out)
                values.append(value)
                slopes.append(slope)
            del tokens  # before the products: the teacher's logits are half of the memory
            if teacher is not None:
                teacher.release()
            if gradient is not None:
                gradient.add(index, len(labels[at]), logits)
        value = torch.cat(values)
        total = () if gradient is None else gradient.total()
        by_temperature: Tensor | None = None
        if by_tau and tau is not None and selection is not None:
            slope = torch.cat(slopes)  # of D; and that of the factor
            slope = slope if selection.factor_is_constant else slope + 2 * value / tau
            by_temperature = slope * factor * late / len(labels)
        return (value * factor).mean(), (by_temperature, *total)

    with torch.autocast(labels.device.type, enabled=False):
        apply: Callable[..., Tensor] = _Loss.apply
        loss = apply(compute, torch.is_grad_enabled(), late, by.scale, learned, *student.inputs)
    return loss


class _Loss(torch.autograd.Function):
    """A loss with a precomputed gradient: one backward pass, no second derivative."""

    @staticmethod
    def forward(
        ctx: Any,
        compute: Callable[[tuple[bool, ...]], tuple[Tensor, Gradients]],
        graded: bool,
        late: int,
        scale: Callable[[Tensor, Tensor], None],
        *inputs: Tensor | None,
    ) -> Tensor:
        needed = ctx.needs_input_grad[4:] if graded else (False,) * len(inputs)
        loss, ctx.gradients = compute(needed)
        ctx.late, ctx.scale = late, scale
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError(
                "the first backward released the gradient of this loss: compute the loss again"
            )
        incoming = incoming / ctx.late
        for gradient in gradients:
            if gradient is not None:
                ctx.scale(gradient, incoming)
        return None, None, None, None, *gradients


def _late(student: LogitSource, count: int) -> int:
    """Return the divisor of the gradient that is applied in the backward pass instead of before.

    In float16 a gradient divided by many tokens may underflow, so the division waits for the factor
    of a gradient scaler. The products of an LM head sum over tokens, which must not overflow.
    """
    if student.dtype != torch.float16:
        return 1
    return min(count, 256) if student.row_bytes else count
