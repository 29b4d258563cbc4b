"""What a token-adaptive method is made of, and the registries that name the pieces."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from adakd.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

Transform = Callable[["Tensor"], "Tensor"]
"""Of logits ``(B, V)``, row by row; differentiable."""
Match = Callable[["Tensor", "Tensor"], "Tensor"]
"""Of the student's and the teacher's hidden states ``(K, d)`` to a loss a token, ``(K,)``."""


@dataclass(frozen=True)
class TokenSelection:
    """What a method decides about the N counted tokens of a batch."""

    score: "Tensor"
    """Difficulty of every token, of shape ``(N,)``."""
    positions: "Tensor"
    """Positions of the K tokens to train on, ascending."""
    temperature: "Tensor | None" = None
    """Temperature of every kept token, of shape ``(K,)``; None is 1 for all.

    One that requires a gradient is learned: it gets the whole derivative of the loss, through the
    student's logits, the teacher's and the factor in front."""
    weight: "Tensor | None" = None
    """Weight of every kept token, of shape ``(K,)``; None is 1 for all."""
    transform: Transform | None = None
    """What is done to both models' logits before they are divided by the temperature."""
    match: Match | None = None
    """A loss of the kept tokens' hidden states, added to that of their logits before the weight."""


class Changing(Protocol):
    """What a method and its pieces may do during a run; who inherits from this does nothing."""

    def begin(self, total_steps: int) -> None:
        """Prepare for a run of `total_steps` optimizer steps."""
        return

    def update(self, loss: float) -> None:
        """Take in the loss of an optimizer step that was made, over all ranks."""
        return

    def parameters(self) -> "Iterable[Parameter]":
        """Return what is learned along with the student, by its optimizer."""
        return ()

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes during a run, learned weights included."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        return


class Scheduled(Changing):
    """Counts the optimizer steps of a run, for what goes by the share that is done."""

    _total, _step = 1, 0

    @property
    def progress(self) -> float:
        """The share of the run that is done, from 0 to 1."""
        return self._step / self._total

    def begin(self, total_steps: int) -> None:
        """Stretch the schedule over `total_steps`."""
        self._total = max(1, total_steps)

    def update(self, loss: float) -> None:
        """Count the step; the loss plays no part."""
        self._step = min(self._step + 1, self._total)

    def state_dict(self) -> dict[str, Any]:
        """Return the count of steps."""
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._step = state["step"]


class Adaptive(Changing, Protocol):
    """A token-adaptive method: wraps any divergence, and never knows which.

    It works in two steps, so that nobody has to hold both models' distributions for a whole batch:
    scores of a few tokens at a time, then a choice by the scores of all.
    """

    def score(self, student: "Tensor", teacher: "Tensor", labels: "Tensor", /) -> "Tensor":
        """Return a score a token of a block, ``(B,)``, or several, ``(B, S)``.

        What is given are detached log-probabilities ``(B, V)`` at temperature 1, and labels.
        """
        ...

    def select(self, scores: "Tensor", /) -> TokenSelection:
        """Choose among all N tokens of a batch by their scores, ``(N,)`` or ``(N, S)``."""
        ...

    def connect(self, student_width: int, teacher_width: int) -> None:
        """Make what links hidden states of these widths, before anything is learned."""
        return


class Indicator(Protocol):
    """How hard each token is: the higher, the sooner it is kept; never below 0."""

    def __call__(self, student: "Tensor", teacher: "Tensor", labels: "Tensor", /) -> "Tensor":
        """Return scores ``(N,)`` for log-probabilities ``(N, V)`` and labels ``(N,)``."""
        ...


class Focus(Changing, Protocol):
    """Which share of the tokens is kept, from step to step."""

    @property
    def ratio(self) -> float:
        """The share of the hardest tokens to keep, above 0 and at most 1."""
        ...


class Temperature(Changing, Protocol):
    """The temperature of each kept token, from its difficulty, and what comes before it."""

    @property
    def transform(self) -> Transform | None:
        """What is done to both models' logits before they are divided by the temperature."""
        return None

    def __call__(self, scores: "Tensor", /) -> "Tensor | None":
        """Return temperatures ``(K,)`` for the kept scores ``(K,)``; None is 1 for all."""
        ...


adaptive: Registry[Callable[..., Adaptive]] = Registry("adaptive method")
indicator: Registry[Indicator] = Registry("indicator")
focus: Registry[Callable[..., Focus]] = Registry("focus")
temperature: Registry[Callable[..., Temperature]] = Registry("temperature")
