"""Temperature of each selected token: by its difficulty, fixed, or learned."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adakd.adaptive.base import Scheduled, Temperature, Transform, temperature
from adakd.config.numbers import Finite, Fraction, NotNegative, Positive
from adakd.divergences.pair import FLOOR

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

# Far below any meaningful score: turns 0 / 0 into a ratio of 1 and changes no other.
TINY = 1e-30


def relative(scores: "Tensor", *, detach: bool = True) -> "Tensor":
    r"""Return :math:`\hat s_i = \tanh \log (s_i / median(s))`, between -1 and 1.

    The median is the lower one, and the ratio is at least 1e-8. Without `detach` the result carries
    the gradient of the scores, that of the median included.
    """
    if detach:
        scores = scores.detach().clamp_min(0) + TINY
        return (scores / scores.median()).clamp_min(1e-8).log().tanh()
    # A difference of logarithms: its derivatives are finite where the median is TINY.
    logarithms = (scores.clamp_min(0) + TINY).log()
    return (logarithms - logarithms.median()).clamp_min(math.log(1e-8)).tanh()


@temperature("idts")
class IDTS(Temperature):
    r"""Inverse difficulty temperature scaling: sharpen hard tokens, soften easy ones.

    .. math::
        \tau_i = base \cdot \exp(-c\, \hat s_i), \quad
        \hat s_i = \tanh \log \frac{s_i}{median(s)}

    over the selected tokens, with the lower median and a ratio of at least 1e-8.

    Args:
        c: strength; 0 gives `base` to all tokens, a negative value softens hard tokens instead.
        base: temperature of a token of median difficulty.
        detach: whether the temperature is a constant for the gradient, as in the paper. In the code
            that its authors released it is not: the gradient also flows through :math:`\tau_i`, the
            scores and their median, and leads to another student. False reproduces that gradient,
            at the cost of a further product with the student's LM head.

    References:
        `AdaKD <https://arxiv.org/abs/2510.11615>`_, 2025.
    """

    def __init__(self, *, c: Finite = 0.5, base: Positive = 1.0, detach: bool = True) -> None:
        self.c, self.base, self.differentiates_scores = c, base, not detach

    def __call__(self, scores: "Tensor") -> "Tensor":
        """Return temperatures of shape ``(K,)`` for scores of shape ``(K,)``."""
        place = relative(scores, detach=not self.differentiates_scores)
        return self.base * (-self.c * place).exp()


@temperature("fixed")
class FixedTemperature(Temperature):
    """The same temperature for every token.

    Args:
        value: the temperature; 1 switches scaling off.
    """

    def __init__(self, *, value: Positive = 1.0) -> None:
        self.value = value

    def __call__(self, scores: "Tensor") -> "Tensor | None":
        """Return `value` for each score, or None if it is 1."""
        return None if self.value == 1 else scores.new_full(scores.shape, self.value)

    def before_scores(self, log_probabilities: "Tensor") -> "Tensor":
        """Return the log-probabilities at this temperature."""
        return tempered(log_probabilities, self.value)


@temperature("zscore")
class Standardised(FixedTemperature):
    r"""Logit standardisation: subtract the mean of both models' logits and divide by the deviation.

    .. math:: z_v \leftarrow \frac{z_v - mean(z)}{std(z)} \cdot \frac{1}{\tau}

    over the vocabulary, for each model separately, with the sample standard deviation and at least
    1e-7 for it, as in the reference implementation. The student's gradient flows through its mean
    and deviation. Entries with a logit of -inf are excluded from both.

    Args:
        value: temperature :math:`\tau` of the standardised logits; 1 in AdaKD's ablation.

    References:
        `Logit Standardization in Knowledge Distillation <https://arxiv.org/abs/2403.01427>`_, 2024.
    """

    @property
    def transform(self) -> Transform:
        """The standardisation of logits of shape ``(B, V)``."""
        return standardise

    def before_scores(self, log_probabilities: "Tensor") -> "Tensor":
        """Return the log-probabilities of the standardised logits at this temperature."""
        # A constant added to the logits, here their normaliser, changes no standardised one.
        ruled_out = log_probabilities <= FLOOR / 2
        logits = standardise(log_probabilities.masked_fill(ruled_out, -math.inf))
        return tempered(logits.masked_fill(ruled_out, FLOOR), self.value)


def standardise(logits: "Tensor") -> "Tensor":
    """Standardise logits ``(B, V)`` to mean 0 and deviation 1; -inf stays -inf."""
    possible = logits > -math.inf
    count = possible.sum(-1, keepdim=True)
    known = logits.where(possible, 0)
    centred = (known - known.sum(-1, keepdim=True) / count).where(possible, 0)
    variance = centred.square().sum(-1, keepdim=True) / (count - 1).clamp_min(1)
    # Under the root, so that the gradient is finite where all logits are equal.
    return (centred / (variance + 1e-14).sqrt()).where(possible, -math.inf)


def tempered(logits: "Tensor", value: "float | Tensor") -> "Tensor":
    """Return log-probabilities ``(B, V)`` at a temperature, at least FLOOR."""
    return (logits / value).log_softmax(-1).clamp_min(FLOOR)


@temperature("ctkd")
class CTKD(Scheduled, Temperature):
    r"""Curriculum temperature: one temperature, learned adversarially to the student.

    .. math:: \tau = low + span \cdot \sigma(w)

    A gradient-reversal layer makes :math:`w` ascend the loss that the student descends: its
    gradient is :math:`-\lambda_t\, \partial loss / \partial w`, through both models' logits and
    :math:`\tau^2`, and the student's optimizer makes the step, without weight decay. With
    :math:`\lambda_t = \lambda\, (1 - \cos(\pi \min(1, u / rise))) / 2` at the share :math:`u` of
    the run that is done, the adversary sets in gradually.

    CTKD's own bounds, for images, are ``low: 1, span: 20, start: 1``, which starts at 15.6. AdaKD's
    ablation starts at a temperature of 1; so do our defaults, with equal room above and below.

    Args:
        low: lower bound of the temperature.
        span: distance from the lower to the upper bound.
        start: :math:`w` at the start of the training.
        strength: :math:`\lambda`, the final factor of the reversed gradient.
        rise: share of the run after which that factor is reached.

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
        """Return the temperature for each score; its gradient is reversed."""
        return self._value(_reversed(self.weight.to(scores), self.force)).expand(len(scores))

    def before_scores(self, log_probabilities: "Tensor") -> "Tensor":
        """Return the log-probabilities at the temperature of the next step."""
        return tempered(log_probabilities, self._value(self.weight.detach().to(log_probabilities)))

    def _value(self, weight: "Tensor") -> "Tensor":
        return self.low + self.span * weight.sigmoid()

    @property
    def force(self) -> float:
        r"""Factor :math:`\lambda_t` of the reversed gradient in the next step."""
        done = min(1.0, self._step / (self.rise * self._total))
        return self.strength * (1 - math.cos(math.pi * done)) / 2

    def parameters(self) -> "list[Parameter]":
        """Return :math:`w`."""
        return [self.weight]

    def state_dict(self) -> dict[str, Any]:
        """Return the step count and :math:`w`."""
        return {**super().state_dict(), "weight": self.weight.detach()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        super().load_state_dict(state)
        self.weight.data.copy_(state["weight"])


@temperature("ctkd_released")
class ReleasedCTKD(CTKD):
    r"""CTKD as the code that AdaKD's authors released has it for the ablation.

    .. math:: \tau = w

    from 1 on and without bounds. The factor of the reversed gradient falls,
    :math:`\lambda_t = \lambda\, (1 + \cos(\pi \min(1, u / fall))) / 2`, and :math:`\tau^2` is a
    constant for it. The released code also applies weight decay to :math:`w`; here there is none.

    Args:
        start: :math:`w` at the start of the training.
        strength: :math:`\lambda`, the first factor of the reversed gradient.
        fall: share of the run after which the factor is 0.

    References:
        `AdaKD <https://arxiv.org/abs/2510.11615>`_, 2025.
    """

    factor_is_constant = True

    def __init__(
        self, *, start: Positive = 1.0, strength: NotNegative = 1.0, fall: Fraction = 1.0
    ) -> None:
        super().__init__(start=start, strength=strength, rise=fall)

    @property
    def force(self) -> float:
        r"""Factor :math:`\lambda_t` of the reversed gradient in the next step."""
        return self.strength - super().force

    def _value(self, weight: "Tensor") -> "Tensor":
        return weight


def _reversed(weight: "Tensor", force: float) -> "Tensor":
    """Return a copy of a learned weight whose gradient is reversed and multiplied by `force`."""
    copy = weight.clone()
    if copy.requires_grad:
        copy.register_hook(  # type: ignore[no-untyped-call]  # untyped in torch
            lambda gradient: -force * gradient
        )
    return copy
