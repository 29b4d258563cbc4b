"""Objectives: from logits and labels to one loss.

Everything that all divergences share happens here, once: masking, matching vocabularies, precision,
token selection, temperature and the mean. The plain arm and an adaptive one take the same path:
with all tokens selected at temperature 1 they agree bit for bit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from adakd.adaptive import Adaptive, Match, TokenSelection, adaptive
from adakd.config.students import Kernels
from adakd.data.example import IGNORED
from adakd.divergences import Divergence, divergence
from adakd.errors import AdakdError
from adakd.losses.blocks import DivergenceTerm, cross_entropy, working_dtype
from adakd.losses.dispatch import row_functions, warn_once
from adakd.losses.engine import (
    budget_on,
    mean_loss,
    score_tokens,
    select_by_scores,
    select_tokens,
)
from adakd.losses.lm_head import HiddenStates
from adakd.losses.logits import LogitSource, Outputs, logit_source
from adakd.losses.traced import traced
from adakd.registry import Spec


@dataclass(frozen=True)
class Loss:
    """The loss of a batch, with the token selection behind it."""

    loss: Tensor
    """Scalar to call ``backward()`` on: the mean over the selected tokens."""
    tokens: int
    """Number of valid tokens in the batch."""
    selection: TokenSelection | None = None
    """The selection of an adaptive method; None where all tokens count equally."""
    supervised: "Loss | None" = None
    """The cross-entropy to the labels that a training adds, times its weight; None without one."""

    @property
    def selected(self) -> int:
        """Number of tokens in the mean."""
        return self.tokens if self.selection is None else len(self.selection.positions)

    @property
    def selected_ratio(self) -> float:
        """Share of the valid tokens that are selected; 1 without valid tokens."""
        return self.selected / self.tokens if self.tokens else 1.0

    @property
    def temperature(self) -> float:
        """Mean temperature of the selected tokens; 1 without any."""
        if not self.selected or self.selection is None or self.selection.temperature is None:
            return 1.0
        return float(self.selection.temperature.detach().cpu().double().mean())


class TokenObjective(Protocol):
    """Interface of an objective in a training loop."""

    needs_teacher: bool

    def __call__(
        self,
        student: Outputs,
        teacher: Outputs | None,
        labels: Tensor,
        /,
    ) -> Loss:
        """Return the loss for logits ``(..., V)``, where row i predicts ``labels[i]``."""
        ...

    def step(self, loss: float) -> None:
        """Update with the loss of a completed optimizer step."""
        ...

    def parameters(self) -> Iterable[Parameter]:
        """Return parameters that are trained with the student but are not part of it."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state of a run, learned parameters included."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        ...


class Objective:
    r"""Distillation with any divergence, plain or token-adaptive.

    .. math:: loss = \frac{1}{K} \sum_{i \in selected} w_i \big( \tau_i^2\,
        D\big(softmax(z^p_i / \tau_i),\; softmax(z^q_i / \tau_i)\big) + m_i \big)

    The plain arm selects all tokens, with :math:`\tau = w = 1` and :math:`m = 0`. An adaptive
    method may also transform the logits :math:`z` and add a loss :math:`m` on hidden states; see
    :class:`~adakd.adaptive.TokenSelection`. Log-probabilities are computed in float32 (float64 for
    float64 logits), whatever the precision of the models.

    Args:
        divergence: a registered name, a :class:`Spec`, or a function.
        adaptive: a registered name, a :class:`Spec`, an instance, or None for the plain arm.
        total_steps: optimizer steps of the run, required by an adaptive method: its schedules and
            warm-up are shares of them.
        budget: memory in bytes for logits computed from hidden states; None for 256 MiB on a CPU
            and a sixteenth of the memory of a GPU.
        widths: sizes of the student's and the teacher's hidden states, for a method that matches
            them.
        kernels: ``"auto"`` uses Triton kernels for logits on a GPU, where Triton is installed.
            ``"torch"`` computes the loss with PyTorch on any device. ``"triton"`` needs logits on a
            GPU. Parts without a kernel are computed by PyTorch, and a kernel that disagrees with
            PyTorch on its first rows is not used: a warning says so.

    Raises:
        AdakdError: an unknown name, an unknown setting, `total_steps` missing, Triton kernels
            requested where they cannot run, or a method that differentiates its scores and
            selects over whole steps.
    """

    needs_teacher = True

    def __init__(
        self,
        divergence: str | Spec | Divergence,
        adaptive: str | Spec | Adaptive | None = None,
        total_steps: int | None = None,
        budget: int | None = None,
        widths: tuple[int, int] | None = None,
        kernels: Kernels = "auto",
    ) -> None:
        self.budget, self.kernels, self._rows = budget, kernels, row_functions(kernels)
        self.divergence = _divergence(divergence)
        self.adaptive = _adaptive(adaptive)
        if self.adaptive is not None:
            if total_steps is None:
                raise AdakdError("an adaptive method needs the objective's `total_steps`: pass it")
            if self.selects_by_step and self.adaptive.differentiates_scores:
                raise AdakdError(
                    f"{type(self.adaptive).__name__}: a gradient through the scores would cross "
                    "micro-batches: choose the scope micro_batch"
                )
            self.adaptive.begin(total_steps)
            if widths is not None:
                self.adaptive.connect(*widths)

    @property
    def selects_by_step(self) -> bool:
        """Whether tokens are selected over whole optimizer steps.

        Where a step has several micro-batches or devices, :meth:`scores` of all of them come first,
        then :meth:`select`, and the loss of each with its part of the selection.
        """
        return self.adaptive is not None and self.adaptive.scope == "step"

    def scores(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Return the adaptive method's scores of the N valid tokens, ``(N,)`` or ``(N, S)``.

        Args:
            student: as in :meth:`__call__`; no gradient is kept.
            teacher: likewise.
            labels: likewise.

        Returns:
            The scores; of shape ``(0,)`` without valid tokens.
        """
        assert self.adaptive is not None
        ours, theirs, labels, _ = _sources(student, teacher, labels)
        if not len(labels):
            return torch.zeros(0, device=labels.device)
        budget = self._budget_on(labels.device)
        return score_tokens(self.adaptive, ours, theirs, labels, budget, self._rows)

    def select(self, scores: Tensor) -> TokenSelection:
        """Return the adaptive method's selection by the scores of a whole step, ``(N,)``.

        Its parts, :meth:`TokenSelection.part <adakd.adaptive.TokenSelection.part>`, are what the
        micro-batches get; the loss of one counts with the share of its selected tokens.
        """
        assert self.adaptive is not None
        return select_by_scores(self.adaptive, scores)

    def __call__(
        self,
        student: Outputs,
        teacher: Outputs | None,
        labels: Tensor,
        selection: TokenSelection | None = None,
    ) -> Loss:
        """Return the loss of a batch.

        Args:
            student: logits of shape ``(..., V)``, where row i predicts ``labels[i]``; or hidden
                states with their LM head.
            teacher: the same for the teacher; the larger (padded) vocabulary is cut to the other.
            labels: of shape ``(...)``; -100 is ignored.
            selection: the selected tokens; None to let the adaptive method select in this batch.

        Returns:
            The loss; exactly 0, with gradient 0, without valid or selected tokens. The gradient is
            precomputed and released by the first ``backward()``; there are no second derivatives.

        Raises:
            AdakdError: the teacher is missing or lacks a label's vocabulary entry; logits are given
                where a method matches hidden states; or they are not on a GPU where Triton kernels
                are requested.
        """
        if teacher is None:
            raise AdakdError("distillation needs the teacher's logits: pass them")
        ours, theirs, labels, valid = _sources(student, teacher, labels)
        if not len(labels):
            return _zero_loss(ours)
        if selection is not None and not len(selection.positions):
            return replace(_zero_loss(ours), tokens=len(labels), selection=selection)
        budget = self._budget_on(labels.device)
        if selection is None and self.adaptive is not None:
            selection = select_tokens(self.adaptive, ours, theirs, labels, budget, self._rows)
        term, trace = DivergenceTerm(self.divergence), traced(self.divergence, selection)
        loss = mean_loss(term, ours, theirs, labels, selection, budget, trace, self._rows)
        if trace is not None and self.kernels == "triton":
            warn_once("a learned temperature or transformed logits")
        if selection is not None and selection.match is not None:
            loss = loss + _matched(selection, selection.match, student, teacher, valid)
        return Loss(loss=loss, tokens=len(labels), selection=selection)

    def _budget_on(self, device: torch.device) -> int:
        return budget_on(device) if self.budget is None else self.budget

    def step(self, loss: float) -> None:
        """Update with the loss of an optimizer step: the mean over micro-batches and ranks."""
        if self.adaptive is not None:
            self.adaptive.update(loss)

    def parameters(self) -> Iterable[Parameter]:
        """Return the adaptive method's parameters, for the student's optimizer."""
        return () if self.adaptive is None else self.adaptive.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the adaptive method; empty for the plain arm."""
        return {} if self.adaptive is None else self.adaptive.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        if self.adaptive is not None:
            self.adaptive.load_state_dict(state)


class SupervisedObjective:
    r"""Supervised fine-tuning: the mean cross-entropy :math:`-\log q_y` of the valid tokens."""

    needs_teacher = False

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: Tensor) -> Loss:
        """Return the loss of a batch; the teacher's logits, if any, are ignored."""
        valid = _valid(labels)
        ours, labels = logit_source(student, valid), _rows(labels, valid)
        if not len(labels):
            return _zero_loss(ours)
        budget = budget_on(labels.device)
        loss = mean_loss(cross_entropy, ours, None, labels, budget=budget)
        return Loss(loss=loss, tokens=len(labels))

    def step(self, loss: float) -> None:
        """Do nothing."""

    def parameters(self) -> Iterable[Parameter]:
        """Return no parameters."""
        return ()

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


def next_token_labels(labels: Tensor) -> Tensor:
    """Return labels shifted left by one, so that row i of the logits predicts ``labels[i]``.

    Args:
        labels: of shape ``(..., L)``, aligned with the input as in transformers.

    Returns:
        The same shape; the last position has nothing to predict and is ignored.
    """
    shifted = labels.roll(-1, dims=-1)
    shifted[..., -1] = IGNORED
    return shifted


def _divergence(given: str | Spec | Divergence) -> Divergence:
    if isinstance(given, str):
        given = Spec(name=given)
    built: Divergence = divergence.build(given) if isinstance(given, Spec) else given
    return built


def _adaptive(given: str | Spec | Adaptive | None) -> Adaptive | None:
    if isinstance(given, str):
        given = Spec(name=given)
    built: Adaptive | None = adaptive.build(given) if isinstance(given, Spec) else given
    return built


def _sources(
    student: Outputs, teacher: Outputs, labels: Tensor
) -> tuple[LogitSource, LogitSource, Tensor, Tensor | None]:
    """Return logits of both models, labels of the valid tokens, and their positions as _valid."""
    valid = _valid(labels)
    shared = min(student.shape[-1], teacher.shape[-1])
    labels = _rows(labels, valid)
    if len(labels) and shared < student.shape[-1]:
        _check_labels(labels, shared)
    return logit_source(student, valid, shared), logit_source(teacher, valid, shared), labels, valid


def _check_labels(labels: Tensor, vocabulary: int) -> None:
    """Check that a teacher with a smaller vocabulary than the student's lacks padding alone."""
    if int(labels.max()) >= vocabulary:
        raise AdakdError(
            f"the teacher's vocabulary ({vocabulary}) lacks the label {int(labels.max())}: "
            "choose models that share a tokenizer"
        )


def _valid(labels: Tensor) -> Tensor | None:
    """Return the positions of the valid tokens in the flattened labels; None for all."""
    valid = labels.flatten() != IGNORED
    return None if bool(valid.all()) else valid.nonzero().squeeze(-1)


def _rows(labels: Tensor, valid: Tensor | None) -> Tensor:
    return labels.flatten() if valid is None else labels.flatten()[valid]


def _matched(
    selection: TokenSelection,
    match: Match,
    student: Outputs,
    teacher: Outputs,
    valid: Tensor | None,
) -> Tensor:
    """Return the weighted mean over the selected tokens of their hidden-state loss."""
    if not (isinstance(student, HiddenStates) and isinstance(teacher, HiddenStates)):
        raise AdakdError(
            "the adaptive method matches hidden states: pass both models as "
            "`HiddenStates(states, head)` instead of logits, or switch the matching off"
        )
    tokens = selection.positions if valid is None else valid[selection.positions]
    dtype = working_dtype(student.states.dtype, teacher.states.dtype)
    ours, theirs = (
        given.flatten(0, -2).index_select(0, tokens).to(dtype)
        for given in (student.states, teacher.states.detach())
    )
    with torch.autocast(tokens.device.type, enabled=False):
        values = match(ours, theirs)
        return (values if selection.weight is None else values * selection.weight).mean()


def _zero_loss(student: LogitSource) -> Loss:
    """Return a loss of 0 that is connected to the student, so that its gradient is 0."""
    parts = [given.flatten()[:0].sum() for given in student.inputs if given is not None]
    dtype = torch.promote_types(student.dtype, torch.float32)
    return Loss(loss=torch.stack([part.to(dtype) for part in parts]).sum(), tokens=0)
