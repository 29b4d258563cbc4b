"""Interfaces and registries of token-adaptive methods and their components."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from adakd.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

Transform = Callable[["Tensor"], "Tensor"]
"""A differentiable map of logits ``(B, V)``, row by row."""
Match = Callable[["Tensor", "Tensor"], "Tensor"]
"""Maps the student's and the teacher's hidden states ``(K, d)`` to a loss per token ``(K,)``."""
Scope = Literal["micro_batch", "step"]
"""The tokens that a method selects among: a micro-batch's, or a whole optimizer step's."""


@dataclass(frozen=True)
class TokenSelection:
    """The K tokens selected among a batch's N valid tokens, and how they are trained on."""

    score: "Tensor"
    """Difficulty of every token, of shape ``(N,)``."""
    positions: "Tensor"
    """Positions of the K tokens to train on, ascending."""
    temperature: "Tensor | None" = None
    """Temperature of every selected token, of shape ``(K,)``; None for 1 everywhere.

    A temperature that requires a gradient is learned: it receives the full derivative of the loss,
    through the student's logits, the teacher's logits and the factor tau squared."""
    weight: "Tensor | None" = None
    """Weight of every selected token, of shape ``(K,)``; None for 1 everywhere."""
    transform: Transform | None = None
    """Transform of both models' logits before they are divided by the temperature."""
    match: Match | None = None
    """Loss on the selected tokens' hidden states, added to the divergence before weighting."""
    factor_is_constant: bool = False
    """Whether tau squared is a constant for the gradient of a learned temperature."""

    def part(self, start: int, stop: int) -> "TokenSelection":
        """Return the part of the valid tokens `start` to `stop`, with positions from `start` on."""
        low, high = (int((self.positions < end).sum()) for end in (start, stop))
        return replace(
            self,
            score=self.score[start:stop],
            positions=self.positions[low:high] - start,
            temperature=None if self.temperature is None else self.temperature[low:high],
            weight=None if self.weight is None else self.weight[low:high],
        )


class Stateful(Protocol):
    """Hooks of a training run for a method and its components, with no-op defaults."""

    def begin(self, total_steps: int) -> None:
        """Prepare for a run of `total_steps` optimizer steps."""
        return

    def update(self, loss: float) -> None:
        """Update with the loss of a completed optimizer step, averaged over all ranks."""
        return

    def parameters(self) -> "Iterable[Parameter]":
        """Return parameters that the student's optimizer also trains."""
        return ()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of a run, learned parameters included."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        return


class Scheduled(Stateful):
    """Counts optimizer steps, for schedules over the share of the run that is done."""

    _total, _step = 1, 0

    @property
    def progress(self) -> float:
        """The share of the run that is done, from 0 to 1."""
        return self._step / self._total

    def begin(self, total_steps: int) -> None:
        """Stretch the schedule over `total_steps`."""
        self._total = max(1, total_steps)

    def update(self, loss: float) -> None:
        """Count the step; the loss is ignored."""
        self._step = min(self._step + 1, self._total)

    def state_dict(self) -> dict[str, Any]:
        """Return the count of steps."""
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self._step = state["step"]


class Adaptive(Stateful, Protocol):
    """A token-adaptive method, independent of the divergence it wraps.

    It works in two steps, so that both models' distributions never have to be held for a whole
    batch: it scores a few tokens at a time, then selects by the scores of all.
    """

    @property
    def differentiates_scores(self) -> bool:
        """Whether the loss also has a gradient through the scores, ``(N,)``; by default not."""
        return False

    @property
    def scope(self) -> Scope:
        """The tokens that one call of :meth:`select` gets: by default those of a micro-batch.

        With ``step`` they are those of the optimizer step, over all micro-batches and devices; that
        excludes `differentiates_scores`.
        """
        return "micro_batch"

    def score(self, student: "Tensor", teacher: "Tensor", labels: "Tensor", /) -> "Tensor":
        """Return one score per token of a block, ``(B,)``, or several, ``(B, S)``.

        `student` and `teacher` are log-probabilities ``(B, V)`` at temperature 1, without gradient
        unless the method differentiates its scores.
        """
        ...

    def select(self, scores: "Tensor", /) -> TokenSelection:
        """Select among all N valid tokens of a batch by their scores, ``(N,)`` or ``(N, S)``."""
        ...

    def connect(self, student_width: int, teacher_width: int) -> None:
        """Create the parameters that link hidden states of these widths, before training."""
        return


class Indicator(Protocol):
    """Difficulty of each token, at least 0: harder tokens are selected first."""

    def __call__(self, student: "Tensor", teacher: "Tensor", labels: "Tensor", /) -> "Tensor":
        """Return scores ``(N,)`` for log-probabilities ``(N, V)`` and labels ``(N,)``."""
        ...


class Focus(Stateful, Protocol):
    """Share of the tokens that is selected, from step to step."""

    @property
    def ratio(self) -> float:
        """The share of tokens to select, the hardest first; above 0 and at most 1."""
        ...


class Temperature(Stateful, Protocol):
    """Temperature of each selected token, and an optional transform of the logits before it."""

    differentiates_scores: bool = False
    """Whether temperatures carry the gradient of the scores."""
    factor_is_constant: bool = False
    """Whether tau squared is a constant for the gradient of a learned temperature."""

    def before_scores(self, log_probabilities: "Tensor", /) -> "Tensor":
        """Return log-probabilities ``(B, V)`` as tempered; unchanged if that follows the scores."""
        return log_probabilities

    @property
    def transform(self) -> Transform | None:
        """Transform of both models' logits before the temperature; None for no transform."""
        return None

    def __call__(self, scores: "Tensor", /) -> "Tensor | None":
        """Return temperatures ``(K,)`` for the selected scores ``(K,)``; None for 1 everywhere."""
        ...


adaptive: Registry[Callable[..., Adaptive]] = Registry("adaptive method")
indicator: Registry[Indicator] = Registry("indicator")
focus: Registry[Callable[..., Focus]] = Registry("focus")
temperature: Registry[Callable[..., Temperature]] = Registry("temperature")
