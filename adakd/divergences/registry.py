"""What a divergence is, and the registry that names them."""

from typing import TYPE_CHECKING, Protocol

from adakd.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


class Divergence(Protocol):
    """A function from two distributions over the vocabulary to one value a token.

    Registered with ``@divergence("name")``; its keyword-only parameters are its settings. The
    objective hands it finite float32 (or float64) log-probabilities, and does the masking, the
    temperature, the choice of tokens and the mean itself.
    """

    def __call__(self, student: "Tensor", teacher: "Tensor", /) -> "Tensor":
        """Return values of shape ``(...)`` for log-probabilities of shape ``(..., V)``."""
        ...


divergence: Registry[Divergence] = Registry("divergence")
