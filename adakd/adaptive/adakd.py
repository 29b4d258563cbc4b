"""AdaKD: select the hardest tokens and set each temperature by the token's difficulty."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from adakd.adaptive import base
from adakd.adaptive.base import Adaptive, Scope, TokenSelection, adaptive
from adakd.errors import AdakdError
from adakd.registry import PartSpec, Registry, Spec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter


def _known_to(registry: Registry[Any]) -> AfterValidator:
    """Return a validator of nested specs that checks names and settings and fills in defaults."""
    return AfterValidator(lambda spec: Spec(name=spec.name, **registry.resolve(spec)))


IndicatorSpec = Annotated[PartSpec, _known_to(base.indicator), Field(validate_default=True)]
FocusSpec = Annotated[PartSpec, _known_to(base.focus), Field(validate_default=True)]
TemperatureSpec = Annotated[PartSpec, _known_to(base.temperature), Field(validate_default=True)]


def _possible(scope: Scope, others: ValidationInfo) -> Scope:
    """Check that the temperature is a constant where tokens are selected over a whole step."""
    temperature: Spec | None = others.data.get("temperature")
    if scope == "step" and temperature and temperature.settings.get("detach") is False:
        raise AdakdError(
            f"adaptive method 'adakd', scope: step cannot be combined with {temperature.name} and "
            "detach: false, whose gradient through the median would cross micro-batches: "
            "set detach: true or scope: micro_batch"
        )
    return scope


HELLINGER, LATF, IDTS = Spec(name="hellinger"), Spec(name="latf"), Spec(name="idts")


@adaptive("adakd")
class AdaKD(Adaptive):
    r"""Token-adaptive distillation around any divergence.

    Of the N valid tokens of a batch the :math:`\max(1, \lfloor N r \rfloor)` hardest are selected,
    each at its own temperature :math:`\tau_i`; the loss is the mean over the selected tokens of
    :math:`\tau_i^2 D(softmax(z^p_i / \tau_i), softmax(z^q_i / \tau_i))`. In a training `scope` says
    what the batch is.

    Args:
        indicator: difficulty of a token; the Hellinger distance by default.
        scored: whether the indicator reads the ``raw`` logits, or the ``tempered`` ones: divided by
            a global temperature or standardised, as in the ablations of the released code. IDTS
            follows the scores, so there both are the same.
        focus: share :math:`r` of selected tokens; LATF by default, ``fixed`` selects all.
        temperature: temperature of each selected token; IDTS by default, ``fixed`` sets it to 1,
            ``ctkd`` learns one, ``zscore`` standardises the logits.
        scope: the tokens that selection and median are over. ``micro_batch`` is the rule of the
            reference implementation: those of a micro-batch of one device, so that the loss depends
            on how a step is split. ``step``: those of the optimizer step, over all micro-batches
            and devices, so that it does not; a step of several takes one more forward pass of the
            student, without gradient.

    Raises:
        AdakdError: an unknown component, or a setting that it does not take; or ``scope: step`` and
            a temperature with ``detach: false``.

    References:
        `AdaKD <https://arxiv.org/abs/2510.11615>`_, 2025.
    """

    def __init__(
        self,
        *,
        indicator: IndicatorSpec = HELLINGER,
        scored: Literal["raw", "tempered"] = "raw",
        focus: FocusSpec = LATF,
        temperature: TemperatureSpec = IDTS,
        scope: Annotated[Scope, AfterValidator(_possible)] = "micro_batch",
    ) -> None:
        self.indicator: base.Indicator = base.indicator.build(indicator)
        self.scored = scored
        self.focus: base.Focus = base.focus.build(focus)
        self.temperature: base.Temperature = base.temperature.build(temperature)
        self._scope = scope

    @property
    def differentiates_scores(self) -> bool:
        """Whether the temperature carries the gradient of the scores."""
        return self.temperature.differentiates_scores

    @property
    def scope(self) -> Scope:
        """The tokens to select among."""
        return self._scope

    def score(self, student: "Tensor", teacher: "Tensor", labels: "Tensor") -> "Tensor":
        """Return the difficulty of each token of a block."""
        if self.scored == "tempered":
            student, teacher = map(self.temperature.before_scores, (student, teacher))
        return self.indicator(student, teacher, labels)

    def select(self, scores: "Tensor") -> TokenSelection:
        """Select the hardest tokens of a batch, and their temperatures, by difficulty ``(N,)``."""
        count = max(1, math.floor(len(scores) * self.focus.ratio))
        # Stable, so that ties are broken the same way on every machine.
        hardest = scores.detach().sort(descending=True, stable=True).indices[:count]
        positions = hardest.sort().values
        return TokenSelection(
            score=scores.detach(),
            positions=positions,
            temperature=self.temperature(scores[positions]),
            transform=self.temperature.transform,
            factor_is_constant=self.temperature.factor_is_constant,
        )

    def begin(self, total_steps: int) -> None:
        """Prepare for a run of `total_steps` optimizer steps."""
        for component in self._components.values():
            component.begin(total_steps)

    def update(self, loss: float) -> None:
        """Update with the loss of an optimizer step, averaged over all ranks."""
        for component in self._components.values():
            component.update(loss)

    def parameters(self) -> "Iterator[Parameter]":
        """Yield the parameters of the components."""
        for component in self._components.values():
            yield from component.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of focus and temperature, the only components with state."""
        return {name: component.state_dict() for name, component in self._components.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        for name, component in self._components.items():
            component.load_state_dict(state[name])

    @property
    def _components(self) -> dict[str, base.Stateful]:
        return {"focus": self.focus, "temperature": self.temperature}
