"""The temperature of each kept token: from its difficulty, fixed, or learned."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adakd.adaptive.base import Scheduled, Temperature, Transform, temperature
from adakd.config.numbers import Finite, Fraction, NotNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

# Far below any score that counts: makes 0 / 0 a ratio of 1, and changes no other.
TINY = 1e-30


def relative(scores: "Tensor") -> "Tensor":
    r"""Return :math:`\hat s_i = \tanh \log (s_i / median(s))`, between -1 and 1, without gradient.

    With the lower median, and a ratio of at least 1e-8.
    """
    scores = scores.detach().clamp_min(0) + TINY
    return (scores / scores.median()).clamp_min(1e-8).log().tanh()


@temperature("idts")
class IDTS(Temperature):
    r"""Inverse difficulty temperature scaling: sharpen hard tokens, soften easy ones.

    .. math::
        \tau_i = base \cdot \exp(-c\, \hat s_i), \quad
        \hat s_i = \tanh \log \frac{s_i}{median(s)}

    over the kept tokens, with the lower median and a ratio of at least 1e-8. The temperature is a
    constant for the gradient, as in the paper; the official code lets the gradient through.

    Args:
        c: strength; 0 is `base` for all, a negative one softens hard tokens instead.
        base: temperature of a token of median difficulty.

    References:
        `AdaKD <https://arxiv.org/abs/2510.11615>`_, 2025.
    """

    def __init__(self, *, c: Finite = 0.5, base: Positive = 1.0) -> None:
        self.c, self.base = c, base

    def __call__(self, scores: "Tensor") -> "Tensor":
        """Return temperatures of shape ``(K,)`` for scores of shape ``(K,)``."""
        return self.base * (-self.c * relative(scores)).exp()


@temperature("fixed")
class FixedTemperature(Temperature):
    """The same temperature for every token.

    Args:
        value: the temperature; 1 switches scaling off.
    """

    def __init__(self, *, value: Positive = 1.0) -> None:
        self.value = value

    def __call__(self, scores: "Tensor") -> "Tensor | None":
        """Return `value` for each of the scores, or None where it is 1."""
        return None if self.value == 1 else scores.new_full(scores.shape, self.value)


@temperature("zscore")
class Standardised(FixedTemperature):
    r"""Logit standardisation: both models' logits lose their mean and their scale.

    .. math:: z_v \leftarrow \frac{z_v - mean(z)}{std(z)} \cdot \frac{1}{\tau}

    over the words of a token, each model by itself, with the sample deviation and at least 1e-7 of
    it, as the official code has them. The student's gradient goes through its mean and deviation.
    Words that a model rules out, with a logit of -inf, stay out of both.

    Args:
        value: temperature :math:`\tau` of the standardised logits; 1 in AdaKD's ablation.

    References:
        `Logit Standardization in Knowledge Distillation <https://arxiv.org/abs/2403.01427>`_, 2024.
    """

    @property
    def transform(self) -> Transform:
        """What standardises logits of shape ``(B, V)``."""
        return standardise


def standardise(logits: "Tensor") -> "Tensor":
    """Return logits ``(B, V)`` less their mean, over their deviation; those of -inf as they are."""
    possible = logits > -math.inf
    count = possible.sum(-1, keepdim=True)
    known = logits.where(possible, 0)
    centred = (known - known.sum(-1, keepdim=True) / count).where(possible, 0)
    variance = centred.square().sum(-1, keepdim=True) / (count - 1).clamp_min(1)
    # Below the root, so that the gradient is finite where all logits are the same.
    return (centred / (variance + 1e-14).sqrt()).where(possible, -math.inf)


@temperature("ctkd")
class CTKD(Scheduled, Temperature):
    r"""Curriculum temperature: one temperature, learned against the student.

    .. math:: \tau = low + span \cdot \sigma(w)

    A gradient-reversal layer lets :math:`w` climb the loss that the student descends: its gradient
    is :math:`-\lambda_t\, \partial loss / \partial w`, through both models' logits and
    :math:`\tau^2`, and the student's optimizer takes the step, without weight decay. With
    :math:`\lambda_t = \lambda\, (1 - \cos(\pi \min(1, u / rise))) / 2` at the share :math:`u` of
    the run that is done, the adversary awakes slowly.

    CTKD's own bounds, for images, are ``low: 1, span: 20, start: 1``, which begins at 15.6. AdaKD's
    ablation begins at a temperature of 1; so do our defaults, with as much room above as below.

    Args:
        low: bound of the temperature from below.
        span: from there to its bound from above.
        start: :math:`w` at the start of the training.
        strength: :math:`\lambda`, which the gradient is multiplied by in the end.
        rise: share of the run after which it is.

    References:
        `Curriculum Temperature for Knowledge Distillation <https://arxiv.org/abs/2211.16231>`_,
        2023.
    """

    def __init__(
        self,
        *,
        low: NotNegative = 0.0,
        span: Positive = 2.0,
        start: Finite = 0.0,
        strength: NotNegative = 1.0,
        rise: Fraction = 1.0,
    ) -> None:
        import torch

        self.low, self.span, self.strength, self.rise = low, span, strength, rise
        self.weight = torch.nn.Parameter(torch.tensor(float(start)))

    def __call__(self, scores: "Tensor") -> "Tensor":
        """Return the temperature for each of the scores, with its gradient to be reversed."""
        weight, force = self.weight.to(scores).clone(), self.force
        if weight.requires_grad:
            weight.register_hook(  # type: ignore[no-untyped-call]  # torch has not typed it
                lambda gradient: -force * gradient
            )
        return (self.low + self.span * weight.sigmoid()).expand(len(scores))

    @property
    def force(self) -> float:
        r"""What the gradient of the coming step is multiplied by, :math:`\lambda_t`."""
        done = min(1.0, self._step / (self.rise * self._total))
        return self.strength * (1 - math.cos(math.pi * done)) / 2

    def parameters(self) -> "list[Parameter]":
        """Return :math:`w`."""
        return [self.weight]

    def state_dict(self) -> dict[str, Any]:
        """Return the count of steps and :math:`w`."""
        return {**super().state_dict(), "weight": self.weight.detach()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        super().load_state_dict(state)
        self.weight.data.copy_(state["weight"])
