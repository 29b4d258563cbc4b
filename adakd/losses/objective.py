"""Logits and labels to one loss: all that is the same for every divergence happens here, once.

Masking, the vocabulary, precision, the choice of tokens, temperature and the mean. The plain arm
and an adaptive one take the same path: with all tokens kept at temperature 1 they agree bit by bit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
from adakd.losses.engine import BUDGET, mean_loss, select_tokens
from adakd.losses.lm_head import HiddenStates
from adakd.losses.logits import LogitSource, logit_source
from adakd.losses.traced import traced
from adakd.registry import Spec


@dataclass(frozen=True)
class Loss:
    """The loss of a batch and how it came about."""

    loss: Tensor
    """Scalar to call ``backward()`` on: the mean over the kept tokens."""
    tokens: int
    """Counted tokens of the batch."""
    selection: TokenSelection | None = None
    """What an adaptive method chose; None where every token counts alike."""

    @property
    def selected(self) -> int:
        """Tokens that the mean is taken over."""
        return self.tokens if self.selection is None else len(self.selection.positions)

    @property
    def selected_ratio(self) -> float:
        """Share of the counted tokens that were kept; 1 where nothing counts."""
        return self.selected / self.tokens if self.tokens else 1.0

    @property
    def temperature(self) -> float:
        """Mean temperature of the kept tokens."""
        if self.selection is None or self.selection.temperature is None:
            return 1.0
        return float(self.selection.temperature.detach().mean())


class TokenObjective(Protocol):
    """What a training loop needs to know of an objective."""

    needs_teacher: bool

    def __call__(
        self,
        student: Tensor | HiddenStates,
        teacher: Tensor | HiddenStates | None,
        labels: Tensor,
        /,
    ) -> Loss:
        """Return the loss for logits ``(..., V)``, where row i predicts ``labels[i]``."""
        ...

    def step(self, loss: float) -> None:
        """Take in the loss of an optimizer step that was made."""
        ...

    def parameters(self) -> Iterable[Parameter]:
        """Return what is learned along with the student and is no part of it."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes during a run, learned weights included."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        ...


class Objective:
    r"""Distillation with any divergence, plain or token-adaptive.

    .. math:: loss = \frac{1}{K} \sum_{i \in kept} w_i \big( \tau_i^2\,
        D\big(softmax(z^p_i / \tau_i),\; softmax(z^q_i / \tau_i)\big) + m_i \big)

    The plain arm keeps all tokens, with :math:`\tau = w = 1`. An adaptive method may transform the
    logits :math:`z` before, and add a loss :math:`m` of hidden states; see
    :class:`~adakd.adaptive.TokenSelection`. Log-probabilities are float32, and
    float64 for float64 logits, whatever the precision of the models.

    Args:
        divergence: a registered name, a :class:`Spec`, or a function.
        adaptive: a registered name, a :class:`Spec`, an instance, or None for the plain arm.
        total_steps: optimizer steps of the run, needed by an adaptive method: its schedules and
            warm-up are shares of them.
        budget: bytes that logits may take which are made of hidden states.
        widths: of the student's and the teacher's hidden states, for a method that matches them.

    Raises:
        AdakdError: an unknown name, a setting that is not taken, or `total_steps` missing.
    """

    needs_teacher = True

    def __init__(
        self,
        divergence: str | Spec | Divergence,
        adaptive: str | Spec | Adaptive | None = None,
        total_steps: int | None = None,
        budget: int = BUDGET,
        widths: tuple[int, int] | None = None,
        kernels: Kernels = "torch",
    ) -> None:
        self.budget, self.kernels, self._rows = budget, kernels, row_functions(kernels)
        self.divergence = _divergence(divergence)
        self.adaptive = _adaptive(adaptive)
        if self.adaptive is not None:
            if total_steps is None:
                raise AdakdError("an adaptive method needs `total_steps` of the objective")
            self.adaptive.begin(total_steps)
            if widths is not None:
                self.adaptive.connect(*widths)

    def __call__(
        self, student: Tensor | HiddenStates, teacher: Tensor | HiddenStates | None, labels: Tensor
    ) -> Loss:
        """Return the loss of a batch.

        Args:
            student: logits of shape ``(..., V)``, row i of which predicts ``labels[i]``; or the
                hidden states and the head that they are made of.
            teacher: the same; a vocabulary that is wider, by padding, is cut.
            labels: of shape ``(...)``; -100 does not count.

        Returns:
            The loss; exactly 0, with gradient 0, where nothing counts. Its gradient is ready, and
            given away by the first ``backward()``; there are no second derivatives.

        Raises:
            AdakdError: no teacher, or one with a smaller vocabulary; or logits where a method
                matches hidden states.
        """
        if teacher is None:
            raise AdakdError("distillation needs the teacher's logits")
        _check_vocabularies(student, teacher)
        counted = _counted(labels)
        ours, labels = logit_source(student, counted), _rows(labels, counted)
        if not len(labels):
            return _nothing(ours)
        theirs = logit_source(teacher, counted, student.shape[-1])
        selection = None
        if self.adaptive is not None:
            selection = select_tokens(self.adaptive, ours, theirs, labels, self.budget, self._rows)
        term, trace = DivergenceTerm(self.divergence), traced(self.divergence, selection)
        loss = mean_loss(term, ours, theirs, labels, selection, self.budget, trace, self._rows)
        if trace is not None and self.kernels == "triton":
            warn_once("a learned temperature or transformed logits")
        if selection is not None and selection.match is not None:
            loss = loss + _matched(selection, selection.match, student, teacher, counted)
        return Loss(loss=loss, tokens=len(labels), selection=selection)

    def step(self, loss: float) -> None:
        """Take in the loss of an optimizer step: the mean over micro-batches and ranks."""
        if self.adaptive is not None:
            self.adaptive.update(loss)

    def parameters(self) -> Iterable[Parameter]:
        """Return what the adaptive method learns: give it to the optimizer of the student."""
        return () if self.adaptive is None else self.adaptive.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the adaptive method; the plain arm has none."""
        return {} if self.adaptive is None else self.adaptive.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        if self.adaptive is not None:
            self.adaptive.load_state_dict(state)


class SupervisedObjective:
    r"""Supervised fine-tuning: the mean cross-entropy :math:`-\log q_y` of the counted tokens."""

    needs_teacher = False

    def __call__(
        self, student: Tensor | HiddenStates, teacher: Tensor | HiddenStates | None, labels: Tensor
    ) -> Loss:
        """Return the loss of a batch; the teacher's logits, if any, play no part."""
        counted = _counted(labels)
        ours, labels = logit_source(student, counted), _rows(labels, counted)
        if not len(labels):
            return _nothing(ours)
        return Loss(loss=mean_loss(cross_entropy, ours, None, labels), tokens=len(labels))

    def step(self, loss: float) -> None:
        """Do nothing: nothing adapts."""

    def parameters(self) -> Iterable[Parameter]:
        """Return nothing."""
        return ()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: nothing changes."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


def next_token_labels(labels: Tensor) -> Tensor:
    """Return labels shifted left by one, so that row i of the logits predicts ``labels[i]``.

    Args:
        labels: of shape ``(..., L)``, aligned with the input as in transformers.

    Returns:
        The same shape; the last position has nothing to predict and does not count.
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


def _check_vocabularies(student: Tensor | HiddenStates, teacher: Tensor | HiddenStates) -> None:
    if teacher.shape[-1] < student.shape[-1]:
        raise AdakdError(
            f"the teacher's vocabulary ({teacher.shape[-1]}) is smaller than the student's "
            f"({student.shape[-1]}): choose models that share a tokenizer"
        )


def _counted(labels: Tensor) -> Tensor | None:
    """Return the positions that count, of all in a row; None where these are all."""
    counted = labels.flatten() != IGNORED
    return None if bool(counted.all()) else counted.nonzero().squeeze(-1)


def _rows(labels: Tensor, counted: Tensor | None) -> Tensor:
    return labels.flatten() if counted is None else labels.flatten()[counted]


def _matched(
    selection: TokenSelection,
    match: Match,
    student: Tensor | HiddenStates,
    teacher: Tensor | HiddenStates,
    counted: Tensor | None,
) -> Tensor:
    """Return the weighted mean over the kept tokens of what `match` makes of their states."""
    if not (isinstance(student, HiddenStates) and isinstance(teacher, HiddenStates)):
        raise AdakdError(
            "the adaptive method matches hidden states: give the objective both models as "
            "`HiddenStates(states, head)`, not as logits, or switch the matching off"
        )
    tokens = selection.positions if counted is None else counted[selection.positions]
    dtype = working_dtype(student.states.dtype, teacher.states.dtype)
    ours, theirs = (
        given.flatten(0, -2).index_select(0, tokens).to(dtype)
        for given in (student.states, teacher.states.detach())
    )
    with torch.autocast(tokens.device.type, enabled=False):
        values = match(ours, theirs)
        return (values if selection.weight is None else values * selection.weight).mean()


def _nothing(student: LogitSource) -> Loss:
    """Return a loss of 0 that is still connected to the student, for its zero gradient."""
    parts = [given.flatten()[:0].sum() for given in student.inputs if given is not None]
    dtype = torch.promote_types(student.dtype, torch.float32)
    return Loss(loss=torch.stack([part.to(dtype) for part in parts]).sum(), tokens=0)
