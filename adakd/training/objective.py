"""Logits and labels to one loss: all that is the same for every divergence happens here, once.

Masking, the vocabulary, precision, the choice of tokens, temperature and the mean. The plain arm
and an adaptive one take the same path: with all tokens kept at temperature 1 they agree bit by bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from adakd.adaptive import Adaptive, Choice, adaptive
from adakd.divergences import Divergence, divergence
from adakd.errors import AdakdError
from adakd.registry import Spec

IGNORED = -100
"""Label of a position that does not count: prompt and padding."""
FLOOR = -1e9
"""Least log-probability that a divergence sees: e to its power is 0, and 0 times it is not NaN."""


@dataclass(frozen=True)
class Loss:
    """The loss of a batch and how it came about."""

    loss: Tensor
    """Scalar to call ``backward()`` on: the mean over the kept tokens."""
    tokens: int
    """Counted tokens of the batch."""
    choice: Choice | None = None
    """What an adaptive method chose; None where every token counts alike."""

    @property
    def kept(self) -> int:
        """Tokens that the mean is taken over."""
        return self.tokens if self.choice is None else len(self.choice.keep)

    @property
    def kept_ratio(self) -> float:
        """Share of the counted tokens that were kept; 1 where nothing counts."""
        return self.kept / self.tokens if self.tokens else 1.0

    @property
    def temperature(self) -> float:
        """Mean temperature of the kept tokens."""
        if self.choice is None or self.choice.temperature is None:
            return 1.0
        return float(self.choice.temperature.mean())


class TokenObjective(Protocol):
    """What a training loop needs to know of an objective."""

    needs_teacher: bool

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor, /) -> Loss:
        """Return the loss for logits ``(..., V)``, where row i predicts ``labels[i]``."""
        ...

    def step(self, loss: float) -> None:
        """Take in the loss of an optimizer step that was made."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes during a run."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        ...


class Objective:
    r"""Distillation with any divergence, plain or token-adaptive.

    .. math:: loss = \frac{1}{K} \sum_{i \in kept} w_i\, \tau_i^2\,
        D\big(softmax(z^p_i / \tau_i),\; softmax(z^q_i / \tau_i)\big)

    The plain arm keeps all tokens, with :math:`\tau = w = 1`. Log-probabilities are float32, and
    float64 for float64 logits, whatever the precision of the models.

    Args:
        divergence: a registered name, a :class:`Spec`, or a function.
        adaptive: a registered name, a :class:`Spec`, an instance, or None for the plain arm.
        total_steps: optimizer steps of the run, needed by an adaptive method: its schedules and
            warm-up are shares of them.

    Raises:
        AdakdError: an unknown name, a setting that is not taken, or `total_steps` missing.
    """

    needs_teacher = True

    def __init__(
        self,
        divergence: str | Spec | Divergence,
        adaptive: str | Spec | Adaptive | None = None,
        total_steps: int | None = None,
    ) -> None:
        self.divergence = _divergence(divergence)
        self.adaptive = _adaptive(adaptive)
        if self.adaptive is not None:
            if total_steps is None:
                raise AdakdError("an adaptive method needs `total_steps` of the objective")
            self.adaptive.begin(total_steps)

    def __call__(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Loss:
        """Return the loss of a batch.

        Args:
            student_logits: of shape ``(..., V)``; row i predicts ``labels[i]``.
            teacher_logits: of shape ``(..., V)``, or wider: a padded vocabulary is cut.
            labels: of shape ``(...)``; -100 does not count.

        Returns:
            The loss; exactly 0, with gradient 0, where nothing counts.

        Raises:
            AdakdError: no teacher, or one with a smaller vocabulary.
        """
        if teacher_logits is None:
            raise AdakdError("distillation needs the teacher's logits")
        counted = labels != IGNORED
        student = _counted(student_logits, counted)
        teacher = _counted(_shared_vocabulary(student_logits, teacher_logits), counted)
        if not len(student):
            return _nothing(student)
        choice, values = self._values(student, teacher, labels[counted])
        return Loss(loss=values.mean(), tokens=len(student), choice=choice)

    def _values(
        self, student: Tensor, teacher: Tensor, labels: Tensor
    ) -> tuple[Choice | None, Tensor]:
        """Return the choice and one value for each kept token."""
        log_q, log_p = _log_softmax(student), _log_softmax(teacher.detach())
        if self.adaptive is None:
            return None, self.divergence(log_q, log_p)
        choice = self.adaptive.choose(log_q.detach(), log_p, labels)
        if choice.temperature is None:
            log_q, log_p = _rows(log_q, choice.keep), _rows(log_p, choice.keep)
            values = self.divergence(log_q, log_p)
        else:
            tau = choice.temperature.unsqueeze(-1)
            log_q = _log_softmax(_rows(student, choice.keep) / tau)
            log_p = _log_softmax(_rows(teacher.detach(), choice.keep) / tau)
            values = self.divergence(log_q, log_p) * choice.temperature.square()
        return choice, values if choice.weight is None else values * choice.weight

    def step(self, loss: float) -> None:
        """Take in the loss of an optimizer step: the mean over micro-batches and ranks."""
        if self.adaptive is not None:
            self.adaptive.update(loss)

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
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Loss:
        """Return the loss of a batch; the teacher's logits, if any, play no part."""
        counted = labels != IGNORED
        student = _counted(student_logits, counted)
        if not len(student):
            return _nothing(student)
        at_label = _log_softmax(student).gather(-1, labels[counted].unsqueeze(-1))
        return Loss(loss=-at_label.mean(), tokens=len(student))

    def step(self, loss: float) -> None:
        """Do nothing: nothing adapts."""

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


def _shared_vocabulary(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the teacher's logits without the rows that pad its vocabulary."""
    if teacher.shape[-1] < student.shape[-1]:
        raise AdakdError(
            f"the teacher's vocabulary ({teacher.shape[-1]}) is smaller than the student's "
            f"({student.shape[-1]}): choose models that share a tokenizer"
        )
    return teacher[..., : student.shape[-1]]


def _counted(logits: Tensor, counted: Tensor) -> Tensor:
    """Return the rows that count, ``(N, V)``; a view where all of them do."""
    return logits.reshape(-1, logits.shape[-1]) if bool(counted.all()) else logits[counted]


def _rows(tensor: Tensor, keep: Tensor) -> Tensor:
    """Return the rows `keep`, ascending; the tensor itself where these are all."""
    return tensor if len(keep) == len(tensor) else tensor[keep]


def _log_softmax(logits: Tensor) -> Tensor:
    """Return finite log-probabilities in float32, or in float64 for float64 logits."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    log_probabilities = logits.log_softmax(-1, dtype=dtype)
    # Words that a model rules out have logit -inf: rare, so look before copying.
    if bool(log_probabilities.detach().amin() < FLOOR):
        return log_probabilities.clamp_min(FLOOR)
    return log_probabilities


def _nothing(rows: Tensor) -> Loss:
    """Return a loss of 0 that is still connected to the (empty) rows, for its zero gradient."""
    return Loss(loss=rows.sum(dtype=torch.promote_types(rows.dtype, torch.float32)), tokens=0)
