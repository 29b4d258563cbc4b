"""Interface and registry of divergences, with their derivatives and entry forms."""

from collections.abc import Callable
from functools import partial
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from adakd.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from adakd.divergences.pair import Pair


class Divergence(Protocol):
    """Maps two distributions over the vocabulary to one value per token.

    Registered with ``@divergence("name")``; its keyword-only parameters are its settings. The
    objective passes finite float32 (or float64) log-probabilities, a block of tokens at a time, and
    does the masking, temperature, token selection and mean itself.
    """

    def __call__(self, student: "Tensor", teacher: "Tensor", /) -> "Tensor":
        """Return values of shape ``(...)`` for log-probabilities of shape ``(..., V)``."""
        ...


divergence: Registry[Divergence] = Registry("divergence")

Derivative = Callable[..., tuple["Tensor", "Tensor"]]
"""Maps a block, and all settings of the divergence by name, to the values ``(B,)`` and their
derivative with respect to the student's logits ``(B, V)``."""

D = TypeVar("D", bound=Derivative)
_DERIVATIVES: dict[Any, Derivative] = {}

EntryForm = Callable[..., tuple["Tensor", "Tensor"]]
"""Maps ``log_q``, ``log_p``, ``q`` and ``p``, and all settings of the divergence in its order, to
each vocabulary entry's part of the value and the derivative of the value by its ``log_q``."""
E = TypeVar("E", bound=EntryForm)
_ENTRY_FORMS: dict[Any, EntryForm] = {}


def derivative(of: Divergence) -> Callable[[D], D]:
    r"""Return a decorator that declares the analytic derivative of a divergence, for speed.

    Without one a divergence is differentiated by autograd, a block at a time. The declared
    derivative must equal that of autograd, :math:`\partial D / \partial z_v` with
    :math:`q = softmax(z)`; a law compares the two::

        @derivative(reverse_kl)
        def _(pair: Pair) -> tuple[Tensor, Tensor]:
            q, gap = pair.q, pair.gap
            values = (q * gap).sum(-1)
            return values, gap.sub_(values.unsqueeze(-1)).mul_(q)

    The settings of the divergence are passed by name. Tensors of `pair` may be overwritten only
    after the last use of `pair`: it derives some of them from others.
    """

    def declare(function: D) -> D:
        _DERIVATIVES[of] = function
        return function

    return declare


def declared_derivative(of: Divergence) -> "Callable[[Pair], tuple[Tensor, Tensor]] | None":
    """Return the declared derivative with the settings of `of` bound; None without one."""
    function = _DERIVATIVES.get(_unbound(of))
    return None if function is None else partial(function, **_settings(of))


def entry_form(of: Divergence) -> Callable[[E], E]:
    r"""Return a decorator that declares the summand of a divergence, for Triton kernels.

    For a divergence that is a sum over vocabulary entries, :math:`D = \sum_v d_v`, the entry form
    returns :math:`d_v` and :math:`g_v = \partial D / \partial \log q_v`. Any multiple of
    :math:`q_v` may be added to :math:`g_v`: it cancels in the gradient with respect to the
    logits::

        @entry_form(reverse_kl)
        def _(log_q, log_p, q, p):
            part = q * (log_q - log_p)
            return part, part

    The body is compiled by Triton and also run by PyTorch. It may use arithmetic, comparisons, the
    methods ``abs``, ``exp``, ``log``, ``sigmoid`` and ``sqrt``, and ``if`` on settings, but no
    names from outside.
    """

    def declare(function: E) -> E:
        _ENTRY_FORMS[of] = function
        return function

    return declare


def declared_entry_form(of: Divergence) -> tuple[EntryForm, tuple[Any, ...]] | None:
    """Return the declared entry form and the settings of `of`; None without one."""
    function = _ENTRY_FORMS.get(_unbound(of))
    return None if function is None else (function, tuple(_settings(of).values()))


def _unbound(of: Divergence) -> Any:
    return of.func if isinstance(of, partial) else of


def _settings(of: Divergence) -> dict[str, Any]:
    parameters = signature(of).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is Parameter.KEYWORD_ONLY}
