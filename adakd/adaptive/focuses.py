"""Share of tokens that is selected: driven by the loss, by a schedule, or fixed."""

import math
from collections.abc import Mapping
from typing import Any

from adakd.adaptive.base import Scheduled, Stateful, focus
from adakd.config.numbers import Fraction, Share


@focus("latf")
class LATF(Stateful):
    r"""Loss-driven adaptive token focusing: select fewer tokens while the loss falls.

    After each optimizer step the loss enters a moving average
    :math:`L_t = \beta L_{t-1} + (1 - \beta)\, loss_t`. All tokens are selected in the warm-up;
    the first step after it sets the reference :math:`L_{ref} = L_t`. From then on

    .. math::
        r \leftarrow \begin{cases}
        \max(floor, r (1 - \delta)) & L_t < L_{ref} (1 - \epsilon) \\
        \min(1, r (1 + \delta)) & L_t > L_{ref} (1 + \epsilon)
        \end{cases}

    and either case sets :math:`L_{ref} \leftarrow L_t`.

    Args:
        warmup: share of all steps in which every token is selected; the first step beyond this
            share ends it.
        beta: decay :math:`\beta` of the moving average.
        eps: relative change :math:`\epsilon` of the loss that moves the ratio.
        delta: relative change :math:`\delta` of the ratio.
        floor: smallest ratio; from the reference implementation, the paper has none.

    References:
        `AdaKD <https://arxiv.org/abs/2510.11615>`_, 2025.
    """

    def __init__(
        self,
        *,
        warmup: Share = 0.05,
        beta: Share = 0.99,
        eps: Share = 0.05,
        delta: Share = 0.05,
        floor: Fraction = 0.1,
    ) -> None:
        self.warmup, self.beta, self.eps, self.delta, self.floor = warmup, beta, eps, delta, floor
        self.ratio = 1.0
        self.ema: float | None = None
        self._warmup_steps = 0
        self._reference: float | None = None
        self._step = 0

    def begin(self, total_steps: int) -> None:
        """Convert the warm-up's share to whole steps, rounded down."""
        # 0.29 * 100 is 29 steps, whatever floating point makes of it.
        self._warmup_steps = math.floor(round(self.warmup * total_steps, 6))

    def update(self, loss: float) -> None:
        """Update the ratio with the loss of a step."""
        self._step += 1
        self.ema = loss if self.ema is None else self.beta * self.ema + (1 - self.beta) * loss
        if self._step <= self._warmup_steps:
            return
        if self._reference is None:
            self._reference = self.ema
        elif self.ema < self._reference * (1 - self.eps):
            self.ratio, self._reference = max(self.floor, self.ratio * (1 - self.delta)), self.ema
        elif self.ema > self._reference * (1 + self.eps):
            self.ratio, self._reference = min(1.0, self.ratio * (1 + self.delta)), self.ema

    def state_dict(self) -> dict[str, Any]:
        """Return the ratio, the moving average, its reference and the step count."""
        return {
            "ratio": self.ratio,
            "ema": self.ema,
            "reference": self._reference,
            "step": self._step,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.ratio, self.ema = state["ratio"], state["ema"]
        self._reference, self._step = state["reference"], state["step"]


@focus("fixed")
class FixedRatio(Stateful):
    """Select the same share of tokens in every step.

    Args:
        ratio: the share; 1 switches focusing off.
    """

    def __init__(self, *, ratio: Fraction = 1.0) -> None:
        self.ratio = ratio


@focus("linear")
class Linear(Scheduled):
    """Change the share linearly from `start` to `end` over the run.

    Args:
        start: share in the first step.
        end: share after the last step.
    """

    def __init__(self, *, start: Fraction = 1.0, end: Fraction = 0.75) -> None:
        self.start, self.end = start, end

    @property
    def ratio(self) -> float:
        """The share in the next step."""
        return self.start + (self.end - self.start) * self._shape(self.progress)

    def _shape(self, progress: float) -> float:
        return progress


@focus("cosine")
class Cosine(Linear):
    """Change the share along half a cosine from `start` to `end` over the run.

    Args:
        start: share in the first step.
        end: share after the last step.
    """

    def __init__(self, *, start: Fraction = 1.0, end: Fraction = 0.75) -> None:
        super().__init__(start=start, end=end)

    def _shape(self, progress: float) -> float:
        return (1 - math.cos(math.pi * progress)) / 2
