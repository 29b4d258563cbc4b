"""Blocks differentiated by autograd from the logits on: learned temperatures, transformed logits.

The usual blocks need only the derivative with respect to the student's tempered logits. Here
autograd also reaches a temperature that acts on both models and a transform of the logits. It works
on one block at a time, so memory use is the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from adakd.adaptive import TokenSelection, Transform
from adakd.divergences import Divergence
from adakd.divergences.pair import FLOOR
from adakd.losses.blocks import Rows, SelectedTokens, row_blocks, working_dtype


@dataclass(frozen=True)
class Traced:
    """Loss per token with one autograd graph from logits to value."""

    divergence: Divergence
    transform: Transform | None
    learned: bool
    """Whether the derivative with respect to the temperature is needed."""

    def rows(self, tokens: SelectedTokens, gradient: Rows | None) -> tuple[Tensor, Tensor]:
        r"""Return the value of every selected token and its temperature derivative, each ``(K,)``.

        Both are those of :math:`D` alone, without the factors of the tokens. The derivative with
        respect to the student's logits, times the factors, is written to `gradient`.

        Args:
            tokens: the selected tokens.
            gradient: as in :func:`~adakd.losses.blocks.loss_rows`; None for no gradient, with zeros
                for the temperature derivative.
        """
        student, teacher, values, slopes = tokens.student, tokens.teacher, [], []
        assert teacher is not None  # every divergence has one
        dtype = working_dtype(student.dtype, teacher.dtype)
        for at in row_blocks(len(tokens.labels), student, dtype):
            logits, theirs = student.block(at, dtype), teacher.block(at, dtype)
            tau = (
                logits.new_ones(len(logits))
                if tokens.temperature is None
                else tokens.temperature[at]
            )
            value, by_logits, by_tau = self._block(logits, theirs, tau, gradient is not None)
            values.append(value)
            slopes.append(by_tau)
            if gradient is not None:
                if student.scaling:
                    by_logits = student.scaling.chain(by_logits, logits)
                gradient.write(at, by_logits, tokens.factor)
        return torch.cat(values), torch.cat(slopes)

    def _block(
        self, student: Tensor, teacher: Tensor, tau: Tensor, graded: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return values ``(B,)``, derivatives by logits ``(B, V)`` and by temperature ``(B,)``."""
        with torch.set_grad_enabled(graded):
            student = student.detach().requires_grad_()
            tau = tau.detach().requires_grad_(self.learned)
            values = self.divergence(
                self._log_probabilities(student, tau), self._log_probabilities(teacher, tau)
            )
            wanted = [student, tau] if self.learned else [student]
            found: tuple[Tensor | None, ...] = ()
            if values.requires_grad:
                found = torch.autograd.grad(values.sum(), wanted, allow_unused=True)
        by_logits, by_tau, *_ = (*found, None, None)
        return (
            values.detach(),
            torch.zeros_like(student) if by_logits is None else by_logits,
            torch.zeros_like(tau) if by_tau is None else by_tau,
        )

    def _log_probabilities(self, logits: Tensor, tau: Tensor) -> Tensor:
        return log_probabilities(logits if self.transform is None else self.transform(logits), tau)


def log_probabilities(logits: Tensor, tau: Tensor | None = None) -> Tensor:
    """Return differentiable log-probabilities ``(B, V)``, at least FLOOR, at temperatures (B,).

    A logit of -inf gets gradient 0, also through the temperature: not 0 times inf.
    """
    ruled_out = logits <= logits.detach().amax(-1, keepdim=True) + FLOOR
    logits = logits.masked_fill(ruled_out, FLOOR)
    if tau is not None:
        logits = logits / tau.unsqueeze(-1)
    return logits.log_softmax(-1).masked_fill(ruled_out, FLOOR)


def traced(divergence: Divergence, selection: TokenSelection | None) -> Traced | None:
    """Return the traced loss that a selection needs; None where the usual blocks suffice."""
    if selection is None:
        return None
    learned = selection.temperature is not None and selection.temperature.requires_grad
    if not learned and selection.transform is None:
        return None
    return Traced(divergence, selection.transform, learned)
