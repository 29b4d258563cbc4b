"""The laws for everything registered, and for each law functions that violate it."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from adakd.divergences import Pair, derivative, divergence, entry_form, forward_kl, reverse_kl
from adakd.divergences.autograd import autograd_derivative
from adakd.divergences.base import declared_derivative, declared_entry_form
from adakd.losses.laws import LAWS, check_divergence
from adakd.registry import Spec


@pytest.mark.parametrize("name", divergence)
def test_registered_divergences_keep_every_law(name: str) -> None:
    results = check_divergence(divergence[name])
    assert [result.name for result in results] == [law.__name__ for law in LAWS]
    assert [result for result in results if not result.ok] == []


@pytest.mark.parametrize("name", divergence)
def test_what_is_built_in_declares_its_derivative(name: str) -> None:
    assert declared_derivative(divergence[name]), "declare it: @derivative, as total_variation does"


@pytest.mark.parametrize("temperature", [0.3, 4.0])
def test_todi_keeps_every_law_at_any_temperature(temperature: float) -> None:
    todi = divergence.build(Spec(name="todi", temperature=temperature))
    assert [result for result in check_divergence(todi) if not result.ok] == []


SETTINGS: list[tuple[str, dict[str, float]]] = [
    ("adaptive_kl", {"mu": 0.9}),
    ("jensen_shannon", {"lam": 0.9}),
    ("skew_forward_kl", {"lam": 0}),
    ("skew_reverse_kl", {"lam": 0}),
    ("todi", {"temperature": 0.3}),
    *(
        ("alpha_beta", {"alpha": alpha, "beta": beta})
        for alpha, beta in ((0, 0), (0, 0.5), (0.5, 0), (1, 0), (0, 1), (1, 1), (0.5, -0.4))
    ),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_a_declared_derivative_goes_by_the_settings(name: str, settings: dict[str, Any]) -> None:
    """At all limits, and by finite differences with detached values held constant."""
    function = divergence.build(Spec(name=name, **settings))
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(3, 300, generator=generator).double() for _ in range(2))
    declared = declared_derivative(function)
    assert declared
    got = declared(Pair(student, teacher))
    wanted = autograd_derivative(function, Pair(student, teacher))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    if name in ("adaptive_kl", "todi"):
        return
    step = torch.randn(student.shape, generator=generator, dtype=torch.float64)
    above, below = (
        function((student + sign * 1e-6 * step).log_softmax(-1), teacher.log_softmax(-1))
        for sign in (1, -1)
    )
    slope = (got[1] * step).sum(-1)
    torch.testing.assert_close(slope, (above - below) / 2e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", sorted(set(divergence) - {"adaptive_kl"}))
def test_a_sum_over_entries_declares_its_summand(name: str) -> None:
    assert declared_entry_form(divergence[name]), "declare it: @entry_form, or name the exception"


@pytest.mark.parametrize(("name", "settings"), SETTINGS[1:])
def test_a_declared_summand_goes_by_the_settings(name: str, settings: dict[str, Any]) -> None:
    function = divergence.build(Spec(name=name, **settings))
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(3, 300, generator=generator).double() for _ in range(2))
    declared = declared_entry_form(function)
    assert declared
    form, given = declared
    pair, wanted = Pair(student, teacher), autograd_derivative(function, Pair(student, teacher))
    parts, slopes = form(pair.log_q, pair.log_p, pair.q, pair.p, *given)
    torch.testing.assert_close(parts.sum(-1), wanted[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(pair.by_logits(slopes), wanted[1], rtol=1e-9, atol=1e-12)


class Doubled(torch.autograd.Function):
    """The identity, with twice the gradient."""

    @staticmethod
    def forward(ctx: Any, given: Tensor) -> Tensor:
        return given.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


def noisy(student: Tensor, teacher: Tensor) -> Tensor:
    return forward_kl(student, teacher) * (1 + torch.rand(()))


def in_place(student: Tensor, teacher: Tensor) -> Tensor:
    return forward_kl(student, teacher.clamp_(min=-1.0))


def cross_entropy(student: Tensor, teacher: Tensor) -> Tensor:
    return -(teacher.exp() * student).sum(-1)


def rooted(student: Tensor, teacher: Tensor) -> Tensor:
    return ((teacher / 2).exp() - (student / 2).exp()).square().sum(-1).sqrt()


def overflows_in_half(student: Tensor, teacher: Tensor) -> Tensor:
    return forward_kl(student, teacher) * (math.inf if student.dtype == torch.bfloat16 else 1)


def misdeclared(student: Tensor, teacher: Tensor) -> Tensor:
    return forward_kl(student, teacher)


@derivative(misdeclared)
def _(pair: Pair) -> tuple[Tensor, Tensor]:
    return forward_kl(pair.log_q, pair.log_p), 2 * (pair.q - pair.p)


def misworded(student: Tensor, teacher: Tensor) -> Tensor:
    return forward_kl(student, teacher)


@entry_form(misworded)
def _(log_q: Tensor, log_p: Tensor, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    return p * (log_p - log_q), p


def runner_up(student: Tensor, teacher: Tensor) -> Tensor:
    return forward_kl(student, teacher) + 0 * student.topk(2).values.sum(-1)


def by_probabilities(student: Tensor, teacher: Tensor) -> Tensor:
    p, q = teacher.exp(), student.exp()
    return (p * (p / q).log()).sum(-1)


def standardised(student: Tensor, teacher: Tensor) -> Tensor:
    values = forward_kl(student, teacher)
    return values / values.mean()


BROKEN = [
    ("shape", lambda s, t: forward_kl(s, t).sum()),
    ("shape", lambda s, t: forward_kl(s, t).float()),
    ("pure", noisy),
    ("pure", in_place),
    ("not_negative", lambda s, t: -forward_kl(s, t)),
    ("not_negative", lambda s, t: forward_kl(s, t) * math.nan),
    ("tells_apart", lambda s, t: (s - s).sum(-1)),
    ("tells_apart", lambda s, t: forward_kl(s.detach(), t) + (s - s).sum(-1)),
    ("zero_at_equality", cross_entropy),
    ("zero_at_equality", rooted),
    ("true_gradient", lambda s, t: Doubled.apply(forward_kl(s, t))),
    ("true_derivative", misdeclared),
    ("true_entry_form", misworded),
    ("bfloat16", overflows_in_half),
    ("one_entry", runner_up),
    ("underflow", by_probabilities),
    ("through_objective", lambda s, t: forward_kl(s.detach(), t)),
    ("any_split", standardised),
]


@pytest.mark.parametrize(("law", "function"), BROKEN)
def test_a_broken_divergence_breaks_the_law(law: str, function: Any) -> None:
    broken = {result.name: result.detail for result in check_divergence(function) if not result.ok}
    assert law in broken
    assert broken[law]


def test_every_law_can_be_broken() -> None:
    assert {law for law, _ in BROKEN} == {law.__name__ for law in LAWS}


def weight(student: Tensor, teacher: Tensor) -> Tensor:
    return (teacher - student).sigmoid()


@torch.no_grad()
def weight_without_graph(student: Tensor, teacher: Tensor) -> Tensor:
    ratio, _ = (teacher - student).sort(-1)
    return ratio.sigmoid()


@pytest.mark.parametrize(
    "stopped",
    [
        lambda s, t: weight(s, t).detach(),
        lambda s, t: weight(s, t).data,
        lambda s, t: weight(s.detach(), t),
        weight_without_graph,
    ],
    ids=["detach", "data", "detached input", "no_grad"],
)
def test_a_stopped_gradient_is_not_a_wrong_one(stopped: Any) -> None:
    def weighed(student: Tensor, teacher: Tensor) -> Tensor:
        w = stopped(student, teacher).mean(-1)
        return w * forward_kl(student, teacher) + (1 - w) * reverse_kl(student, teacher)

    assert [result for result in check_divergence(weighed) if not result.ok] == []
    assert torch.is_grad_enabled()


def test_the_caller_keeps_its_random_numbers() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    check_divergence(forward_kl)
    assert torch.equal(torch.rand(3), expected)
