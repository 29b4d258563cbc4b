"""What a divergence and its derivative are, and the registry that names divergences."""

from collections.abc import Callable
from functools import partial
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from adakd.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from adakd.divergences.pair import Pair


class Divergence(Protocol):
    """A function from two distributions over the vocabulary to one value a token.

    Registered with ``@divergence("name")``; its keyword-only parameters are its settings. The
    objective hands it finite float32 (or float64) log-probabilities, a block of tokens at a time,
    and does the masking, the temperature, the choice of tokens and the mean itself.
    """

    def __call__(self, student: "Tensor", teacher: "Tensor", /) -> "Tensor":
        """Return values of shape ``(...)`` for log-probabilities of shape ``(..., V)``."""
        ...


divergence: Registry[Divergence] = Registry("divergence")

Derivative = Callable[..., tuple["Tensor", "Tensor"]]
"""Of a block (and all settings of the divergence): the values, ``(B,)``, and their derivative by
the student's logits, ``(B, V)``."""

D = TypeVar("D", bound=Derivative)
_DERIVATIVES: dict[Any, Derivative] = {}


def derivative(of: Divergence) -> Callable[[D], D]:
    r"""Return a decorator that declares the derivative of a divergence: faster, never other.

    Without one a divergence is differentiated by autograd, a block at a time. What is declared
    is what autograd would give, :math:`\partial D / \partial z_v` with :math:`q = softmax(z)`; a
    law compares the two.

        @derivative(reverse_kl)
        def _(pair: Pair) -> tuple[Tensor, Tensor]:
            q, gap = pair.q, pair.gap
            values = (q * gap).sum(-1)
            return values, gap.sub_(values.unsqueeze(-1)).mul_(q)

    The settings of the divergence are handed on by name. What `pair` gives may be overwritten.
    """

    def declare(function: D) -> D:
        _DERIVATIVES[of] = function
        return function

    return declare


def declared_derivative(of: Divergence) -> "Callable[[Pair], tuple[Tensor, Tensor]] | None":
    """Return the declared derivative with the settings that `of` has bound; None without one."""
    function = _DERIVATIVES.get(of.func if isinstance(of, partial) else of)
    if function is None:
        return None
    parameters = signature(of).parameters.values()
    settings = {p.name: p.default for p in parameters if p.kind is Parameter.KEYWORD_ONLY}
    return partial(function, **settings)
