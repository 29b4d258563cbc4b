"""AdaKD: keep the hardest tokens, and give each the temperature that its difficulty asks for."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from adakd.adaptive import base
from adakd.adaptive.base import Adaptive, TokenSelection, adaptive
from adakd.registry import PartSpec, Registry, Spec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter


def _known_to(registry: Registry[Any]) -> AfterValidator:
    """Return a check of nested specs: the name and settings are known, defaults are filled in."""
    return AfterValidator(lambda spec: Spec(name=spec.name, **registry.resolve(spec)))


IndicatorSpec = Annotated[PartSpec, _known_to(base.indicator), Field(validate_default=True)]
FocusSpec = Annotated[PartSpec, _known_to(base.focus), Field(validate_default=True)]
TemperatureSpec = Annotated[PartSpec, _known_to(base.temperature), Field(validate_default=True)]

HELLINGER, LATF, IDTS = Spec(name="hellinger"), Spec(name="latf"), Spec(name="idts")


@adaptive("adakd")
class AdaKD(Adaptive):
    r"""Token-adaptive distillation around any divergence.

    Of the N counted tokens of a batch the :math:`\max(1, \lfloor N r \rfloor)` hardest are kept,
    each at its own temperature :math:`\tau_i`; the loss is the mean over the kept tokens of
    :math:`\tau_i^2 D(softmax(z^p_i / \tau_i), softmax(z^q_i / \tau_i))`.

    Args:
        indicator: how hard a token is; Hellinger distance by default.
        focus: the share :math:`r` of tokens kept; LATF by default, ``fixed`` keeps all.
        temperature: of each kept token; IDTS by default, ``fixed`` leaves them at 1, ``ctkd``
            learns one, ``zscore`` standardises the logits.

    Raises:
        AdakdError: an unknown piece, or a setting that it does not take.

    References:
        `AdaKD <https://arxiv.org/abs/2510.11615>`_, 2025.
    """

    def __init__(
        self,
        *,
        indicator: IndicatorSpec = HELLINGER,
        focus: FocusSpec = LATF,
        temperature: TemperatureSpec = IDTS,
    ) -> None:
        self.indicator: base.Indicator = base.indicator.build(indicator)
        self.focus: base.Focus = base.focus.build(focus)
        self.temperature: base.Temperature = base.temperature.build(temperature)

    def score(self, student: "Tensor", teacher: "Tensor", labels: "Tensor") -> "Tensor":
        """Return how hard each token of a block is."""
        return self.indicator(student, teacher, labels)

    def select(self, scores: "Tensor") -> TokenSelection:
        """Choose the tokens of a batch and their temperatures by how hard each one is, ``(N,)``."""
        count = max(1, math.floor(len(scores) * self.focus.ratio))
        # Stable, so that of equally hard tokens the same ones are kept on every machine.
        hardest = scores.sort(descending=True, stable=True).indices[:count]
        positions = hardest.sort().values
        return TokenSelection(
            score=scores,
            positions=positions,
            temperature=self.temperature(scores[positions]),
            transform=self.temperature.transform,
        )

    def begin(self, total_steps: int) -> None:
        """Prepare for a run of `total_steps` optimizer steps."""
        for piece in self._pieces.values():
            piece.begin(total_steps)

    def update(self, loss: float) -> None:
        """Take in the loss of an optimizer step, over all ranks."""
        for piece in self._pieces.values():
            piece.update(loss)

    def parameters(self) -> "Iterator[Parameter]":
        """Yield what the pieces learn."""
        for piece in self._pieces.values():
            yield from piece.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of focus and temperature: nothing else changes during a run."""
        return {name: piece.state_dict() for name, piece in self._pieces.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        for name, piece in self._pieces.items():
            piece.load_state_dict(state[name])

    @property
    def _pieces(self) -> dict[str, base.Changing]:
        return {"focus": self.focus, "temperature": self.temperature}
