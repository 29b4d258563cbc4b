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

EntryForm = Callable[..., tuple["Tensor", "Tensor"]]
"""Of ``log_q``, ``log_p``, ``q`` and ``p`` (and all settings of the divergence, in its order): of
each word its part of the value, and the derivative of the value by its ``log_q``."""
E = TypeVar("E", bound=EntryForm)
_ENTRY_FORMS: dict[Any, EntryForm] = {}


def derivative(of: Divergence) -> Callable[[D], D]:
    r"""Return a decorator that declares the derivative of a divergence: faster, never other.

    Without one a divergence is differentiated by autograd, a block at a time. What is declared
    is what autograd would give, :math:`\partial D / \partial z_v` with :math:`q = softmax(z)`; a
    law compares the two::

        @derivative(reverse_kl)
        def _(pair: Pair) -> tuple[Tensor, Tensor]:
            q, gap = pair.q, pair.gap
            values = (q * gap).sum(-1)
            return values, gap.sub_(values.unsqueeze(-1)).mul_(q)

    The settings of the divergence are handed on by name. What `pair` gives may be overwritten once
    nothing more is asked of it: it makes one part from another.
    """

    def declare(function: D) -> D:
        _DERIVATIVES[of] = function
        return function

    return declare


def declared_derivative(of: Divergence) -> "Callable[[Pair], tuple[Tensor, Tensor]] | None":
    """Return the declared derivative with the settings that `of` has bound; None without one."""
    function = _DERIVATIVES.get(_unbound(of))
    return None if function is None else partial(function, **_settings(of))


def entry_form(of: Divergence) -> Callable[[E], E]:
    r"""Return a decorator that declares a sum over words by its summand, for kernels on a GPU.

    Of :math:`D = \sum_v d_v` it returns :math:`d_v` and :math:`g_v = \partial D / \partial \log
    q_v`, to which any multiple of :math:`q_v` may be added: the gradient by logits has none of it::

        @entry_form(reverse_kl)
        def _(log_q, log_p, q, p):
            part = q * (log_q - log_p)
            return part, part

    The body is compiled by Triton and run by PyTorch: arithmetic, comparisons, ``abs``, ``exp``,
    ``log``, ``sigmoid`` and ``sqrt`` as methods, and ``if`` on settings; no names from outside.
    """

    def declare(function: E) -> E:
        _ENTRY_FORMS[of] = function
        return function

    return declare


def declared_entry_form(of: Divergence) -> tuple[EntryForm, tuple[Any, ...]] | None:
    """Return the declared form of a word and the settings that `of` has bound; None without one."""
    function = _ENTRY_FORMS.get(_unbound(of))
    return None if function is None else (function, tuple(_settings(of).values()))


def _unbound(of: Divergence) -> Any:
    return of.func if isinstance(of, partial) else of


def _settings(of: Divergence) -> dict[str, Any]:
    parameters = signature(of).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is Parameter.KEYWORD_ONLY}
