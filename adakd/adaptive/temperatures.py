"""The temperature of each kept token: from its difficulty, or fixed."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from adakd.adaptive.parts import temperature

if TYPE_CHECKING:
    from torch import Tensor

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# Far below any score that counts: makes 0 / 0 a ratio of 1, and changes no other.
TINY = 1e-30


@temperature("idts")
class IDTS:
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
        scores = scores.detach().clamp_min(0) + TINY
        relative = (scores / scores.median()).clamp_min(1e-8).log().tanh()
        return self.base * (-self.c * relative).exp()


@temperature("fixed")
class FixedTemperature:
    """The same temperature for every token.

    Args:
        value: the temperature; 1 switches scaling off.
    """

    def __init__(self, *, value: Positive = 1.0) -> None:
        self.value = value

    def __call__(self, scores: "Tensor") -> "Tensor | None":
        """Return `value` for each of the scores, or None where it is 1."""
        return None if self.value == 1 else scores.new_full(scores.shape, self.value)
