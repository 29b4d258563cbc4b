"""The gradient of an adaptive method's scores, for temperatures that are not detached.

Scores are computed without a graph, block by block. Where a method differentiates them, the
backward pass computes the logits of the tokens that need it again, and lets autograd through the
score of one block at a time, so memory use stays that of a block.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from adakd.adaptive import Adaptive
from adakd.losses.blocks import Rows, row_blocks, working_dtype
from adakd.losses.logits import Gradients, LogitSource, token_groups
from adakd.losses.traced import log_probabilities

Pull = Callable[[Tensor, tuple[bool, ...]], Gradients]
"""Takes the gradient of a loss by the scores ``(N,)`` to that by the student's inputs."""


def differentiable(
    scores: Tensor,
    adaptive: Adaptive,
    student: LogitSource,
    teacher: LogitSource,
    labels: Tensor,
    budget: int,
) -> Tensor:
    """Return scores ``(N,)`` that carry a gradient by the student's inputs."""

    def pull(incoming: Tensor, needed: tuple[bool, ...]) -> Gradients:
        student.release()  # the loss overwrote logits that were held
        teacher.release()
        index = incoming.nonzero().squeeze(-1)
        gradient = student.gradient(needed, len(index))
        row_bytes = student.row_bytes + teacher.row_bytes
        for at, group in token_groups(labels[index], index, row_bytes, budget):
            logits = student.rows(group)
            out = gradient.rows(group, logits)
            tokens = index[at]
            _write(adaptive, logits, teacher.rows(group), labels[tokens], incoming[tokens], out)
            gradient.add(group, len(tokens), logits)
        return gradient.total()

    apply: Callable[..., Tensor] = _Scores.apply
    return apply(pull, scores, *student.inputs)


def _write(
    adaptive: Adaptive,
    student: Rows,
    teacher: Rows,
    labels: Tensor,
    incoming: Tensor,
    out: Rows,
) -> None:
    """Write the gradient of rows by the student's logits, a block at a time."""
    dtype = working_dtype(student.dtype, teacher.dtype)
    for at in row_blocks(len(labels), student, dtype):
        logits = student.block(at, dtype)
        log_p = log_probabilities(teacher.block(at, dtype))
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            values = adaptive.score(log_probabilities(leaf), log_p, labels[at])
            found = None
            if values.requires_grad:
                (found,) = torch.autograd.grad(values.sum(), leaf)
        by_logits = torch.zeros_like(logits) if found is None else found
        # At a score of 0, its minimum, roots have no derivative: 0 is the one to take.
        by_logits = by_logits.masked_fill((values.detach() <= 0).unsqueeze(-1), 0)
        if student.scaling:
            by_logits = student.scaling.chain(by_logits, logits)
        out.write(at, by_logits, incoming)


class _Scores(torch.autograd.Function):
    """Scores with a gradient that is computed in the backward pass, once."""

    @staticmethod
    def forward(ctx: Any, pull: Pull, scores: Tensor, *inputs: Tensor | None) -> Tensor:
        ctx.pull = pull
        return scores.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        pull, ctx.pull = ctx.pull, None
        with torch.autocast(incoming.device.type, enabled=False):
            return None, None, *pull(incoming, ctx.needs_input_grad[2:])
