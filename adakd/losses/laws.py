"""The laws that every divergence must satisfy, built in or from a plug-in.

``adakd check divergence NAME_OR_FILE`` runs them on a user's own function.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from adakd.data.example import IGNORED
from adakd.divergences.autograd import autograd_derivative
from adakd.divergences.base import Divergence, declared_derivative, declared_entry_form
from adakd.divergences.pair import FLOOR, Pair
from adakd.losses.objective import Objective

TOKENS, VOCABULARY = 6, 11
TOLERANCE = 1e-5


class Broken(Exception):
    """A violated law; the message says where."""


@dataclass(frozen=True)
class LawResult:
    """Whether a part satisfies a law."""

    name: str
    ok: bool
    detail: str
    """The law or, if violated, the violation."""


Law = Callable[[Divergence], None]


def check_divergence(function: Divergence) -> list[LawResult]:
    """Check `function` against every law; an error raised in a law violates it."""
    return [verdict(law, function) for law in LAWS]


def verdict(law: Callable[[Any], None], function: Any) -> LawResult:
    """Return whether a part satisfies a law; an error raised in the law violates it."""
    name, says = law.__name__, (law.__doc__ or "").strip()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            law(function)
    except Broken as broken:
        return LawResult(name, False, str(broken))
    except Exception as error:
        return LawResult(name, False, f"{type(error).__name__}: {error}")
    return LawResult(name, True, says)


# --- the laws -------------------------------------------------------------------------------


def shape(function: Divergence) -> None:
    """Log-probabilities (..., V) give values (...), and float64 stays float64."""
    for leading in ((), (TOKENS,), (2, 3)):
        student, teacher = (_log_probabilities(*leading, VOCABULARY).double() for _ in range(2))
        values = function(student, teacher)
        if values.shape != leading:
            raise Broken(f"{tuple(student.shape)} gives {tuple(values.shape)}, not {leading}")
        if values.dtype != torch.float64:
            raise Broken(f"float64 gives {str(values.dtype).removeprefix('torch.')}")


def pure(function: Divergence) -> None:
    """The same input gives the same values and is not modified."""
    student, teacher = _pair()
    before = student.clone(), teacher.clone()
    first, second = function(student, teacher), function(student, teacher)
    if not (torch.equal(student, before[0]) and torch.equal(teacher, before[1])):
        raise Broken("the input is modified in place")
    _equal(first, second, "a second call on the same input", 0)


def not_negative(function: Divergence) -> None:
    """No value is below 0."""
    least = float(function(*_pair(64)).min())
    if not least >= -TOLERANCE:
        raise Broken(f"a value of {least:.3g}")


def tells_apart(function: Divergence) -> None:
    """For different distributions the value and the gradient norm are above 0."""
    logits, teacher = torch.randn(TOKENS, VOCABULARY), _log_probabilities(TOKENS, VOCABULARY)
    values, gradient = _differentiate(function, logits, teacher)
    if not bool((values > TOLERANCE).all()):
        raise Broken(f"a value of {float(values.min()):.3g} for two different distributions")
    if not bool((gradient.abs().amax(-1) > 0).all()):
        raise Broken("the gradient is 0 for two different distributions")


def zero_at_equality(function: Divergence) -> None:
    """For equal distributions the value is 0 and the gradient finite."""
    logits = torch.randn(TOKENS, VOCABULARY)
    values, gradient = _differentiate(function, logits, logits.log_softmax(-1))
    _equal(values, torch.zeros(TOKENS), "the value for equal distributions")
    _finite(gradient, "the gradient for equal distributions")


def true_gradient(function: Divergence) -> None:
    """The gradient matches finite differences, with detached parts held constant."""
    logits = torch.randn(TOKENS, VOCABULARY, dtype=torch.float64)
    teacher = torch.randn_like(logits).log_softmax(-1)
    direction, step = torch.randn_like(logits), 1e-6
    frozen = FrozenStopGradients(function)
    _, gradient = _differentiate(frozen.record, logits, teacher)
    above = frozen.replay((logits + step * direction).log_softmax(-1), teacher)
    below = frozen.replay((logits - step * direction).log_softmax(-1), teacher)
    slope = (above - below) / (2 * step)
    _equal((gradient * direction).sum(-1), slope, "the slope, against finite differences,")


def true_derivative(function: Divergence) -> None:
    """A declared derivative matches the values and the gradient of autograd."""
    declared = declared_derivative(function)
    if declared is None:
        return
    student, teacher = _pair(64)
    student[0] = teacher[0]
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, TOLERANCE)):
        pair = student.to(dtype), teacher.to(dtype)
        before = pair[0].clone(), pair[1].clone()
        values, gradient = declared(Pair(*pair))
        if not all(map(torch.equal, pair, before)):
            raise Broken("the derivative modifies the logits in place")
        wanted = autograd_derivative(function, Pair(*pair))
        _equal(values, wanted[0], "the value returned with the derivative", tolerance)
        _equal(gradient, wanted[1], "the declared derivative", tolerance)


def true_entry_form(function: Divergence) -> None:
    """A declared entry form sums to the values and matches the gradient of autograd."""
    declared = declared_entry_form(function)
    if declared is None:
        return
    form, settings = declared
    logits = [given.double() for given in _pair(64)]
    logits[0][0] = logits[1][0]
    pair, wanted = Pair(*logits), autograd_derivative(function, Pair(*logits))
    parts, slopes = form(pair.log_q, pair.log_p, pair.q, pair.p, *settings)
    _equal(parts.sum(-1), wanted[0], "the sum of the declared entry form", 1e-9)
    _equal(pair.by_logits(slopes), wanted[1], "the gradient of the declared entry form", 1e-9)


def bfloat16(function: Divergence) -> None:
    """Values from bfloat16 are finite and close to those of the same numbers in float32."""
    student, teacher = (given.bfloat16() for given in _pair())
    values = function(student, teacher).float()
    _finite(values, "a value in bfloat16")
    _equal(values, function(student.float(), teacher.float()), "the value in bfloat16", 0.1)


def one_entry(function: Divergence) -> None:
    """With a vocabulary of one entry the value is 0 and the gradient finite."""
    values, gradient = _differentiate(function, torch.randn(TOKENS, 1), torch.zeros(TOKENS, 1))
    _equal(values, torch.zeros(TOKENS), "the value with a vocabulary of one entry")
    _finite(gradient, "the gradient with a vocabulary of one entry")


def underflow(function: Divergence) -> None:
    """If probabilities underflow to 0, value and gradient are finite."""
    logits, teacher = torch.zeros(2, 4), torch.zeros(2, 4)
    logits[:, 0], teacher[0, 0], teacher[1, 1] = 300.0, 300.0, 300.0
    logits[:, 3] = teacher[:, 3] = FLOOR
    values, gradient = _differentiate(function, logits, teacher.log_softmax(-1))
    _finite(values, "the value where probabilities underflow")
    _finite(gradient, "the gradient where probabilities underflow")


def through_objective(function: Divergence) -> None:
    """Prompt and padding get no gradient; without valid tokens loss and gradient are 0."""
    logits = torch.randn(2, TOKENS, VOCABULARY, requires_grad=True)
    labels = torch.zeros(2, TOKENS, dtype=torch.long)
    labels[0] = IGNORED
    for given, responses in ((labels, 1), (torch.full_like(labels, IGNORED), 0)):
        loss = Objective(function)(logits, torch.randn_like(logits), given).loss
        (gradient,) = torch.autograd.grad(loss, logits)
        _finite(loss.detach(), "the loss of a batch")
        _equal(gradient[0], torch.zeros_like(gradient[0]), "the gradient of a prompt", 0)
        if bool(gradient[1].any()) != bool(responses):
            raise Broken(f"a gradient of {gradient[1].abs().max():.3g} from {responses} responses")


def any_split(function: Divergence) -> None:
    """Tokens do not interact: a split batch gives the same values."""
    student, teacher = _pair()
    whole = function(student, teacher)
    parts = [function(*part) for part in zip(student.chunk(3), teacher.chunk(3), strict=True)]
    _equal(torch.cat(parts), whole, "the value in a part of the batch, against the whole,")


LAWS: tuple[Law, ...] = (
    shape,
    pure,
    not_negative,
    tells_apart,
    zero_at_equality,
    true_gradient,
    true_derivative,
    true_entry_form,
    bfloat16,
    one_entry,
    underflow,
    through_objective,
    any_split,
)


# --- helpers ----------------------------------------------------------------------------


class FrozenStopGradients(TorchFunctionMode):
    """A function whose detached values are recorded in one call and replayed in others.

    A detached weight depends on the input although the gradient ignores it. With that weight held
    constant, finite differences measure the same derivative as autograd.
    """

    def __init__(self, function: Divergence) -> None:
        super().__init__()
        self._function = function
        self._taken: list[Any] = []
        self._played: Iterator[Any] | None = None

    def record(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Call the function and record the values it detaches."""
        with self:
            return self._function(student, teacher)

    def replay(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Call the function with the recorded values."""
        self._played = iter(self._taken)
        student = student.detach().requires_grad_()
        with self:
            values = self._function(student, teacher)
        return values.detach()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one torch call; record or replace its result if that is detached."""
        result = func(*args, **(kwargs or {}))
        if not _is_detached(result, args):
            return result
        if self._played is not None:
            return next(self._played)
        self._taken.append(result)
        return result


def _is_detached(result: Any, args: tuple[Any, ...]) -> bool:
    if not torch.is_grad_enabled():
        return result is not None  # None comes from switching no_grad itself
    cut = isinstance(result, Tensor) and not result.requires_grad
    return cut and any(isinstance(given, Tensor) and given.requires_grad for given in args)


def _log_probabilities(*shape: int) -> Tensor:
    return (2 * torch.randn(*shape)).log_softmax(-1)


def _pair(tokens: int = TOKENS) -> tuple[Tensor, Tensor]:
    return _log_probabilities(tokens, VOCABULARY), _log_probabilities(tokens, VOCABULARY)


def _differentiate(function: Divergence, logits: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values and their gradient with respect to the student's logits."""
    logits = logits.clone().requires_grad_()
    values = function(logits.log_softmax(-1), teacher)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    return values.detach(), gradient


def _finite(values: Tensor, what: str) -> None:
    if not bool(values.isfinite().all()):
        raise Broken(f"{what} is not finite: {values[~values.isfinite()][0]:.3g}")


def _equal(values: Tensor, wanted: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    if values.shape != wanted.shape:
        raise Broken(f"{what} has shape {tuple(values.shape)}, not {tuple(wanted.shape)}")
    if not torch.allclose(values, wanted, rtol=tolerance, atol=tolerance):
        far = (values - wanted).abs().argmax()
        got, right = float(values.flatten()[far]), float(wanted.flatten()[far])
        raise Broken(f"{what} is {got:.6g}, not {right:.6g}")
