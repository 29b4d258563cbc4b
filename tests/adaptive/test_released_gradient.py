"""IDTS without `detach`: the gradient of the released code, from its definition in float64.

There the temperature is no constant: the gradient flows through it, the scores and their median.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from adakd.adaptive import indicator
from adakd.data.example import IGNORED
from adakd.divergences import divergence
from adakd.losses import blocks
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import Objective
from adakd.registry import Spec

VOCABULARY, TOKENS, WIDTH, C, BASE = 23, 15, 6, 0.5, 1.3


def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    student, teacher = (
        2 * torch.randn(TOKENS, VOCABULARY, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    teacher[:5] = student[:5] + 0.3 * teacher[:5]  # easy tokens beside hard ones
    labels = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    labels[2] = IGNORED
    return student, teacher, labels


def method(name: str, ratio: float, *, detach: bool = False) -> Spec:
    return Spec(
        name="adakd",
        indicator=name,
        focus={"name": "fixed", "ratio": ratio},
        temperature={"name": "idts", "c": C, "base": BASE, "detach": detach},
    )


def defined(name: str, loss: str, ratio: float, *, detach: bool = False) -> tuple[Tensor, Tensor]:
    """Return loss and gradient by autograd through the plain formula."""
    student, teacher, labels = batch()
    student.requires_grad_()
    counted = labels != IGNORED
    z_q, z_p, y = student[counted], teacher[counted], labels[counted]
    score = indicator[name](z_q.log_softmax(-1), z_p.log_softmax(-1), y)
    kept = score.topk(max(1, math.floor(len(score) * ratio))).indices
    score = score[kept].clamp_min(0)
    tau = BASE * torch.exp(-C * torch.tanh(torch.log(score / score.median())))
    if detach:
        tau = tau.detach()
    tempered = ((z[kept] / tau[:, None]).log_softmax(-1) for z in (z_q, z_p))
    value = (tau**2 * divergence[loss](*tempered)).mean()
    return value.detach(), torch.autograd.grad(value, student)[0]


@pytest.mark.parametrize("ratio", [1.0, 0.55])
@pytest.mark.parametrize("loss", divergence)
@pytest.mark.parametrize("name", indicator)
def test_gradient_of_the_definition(name: str, loss: str, ratio: float) -> None:
    student, teacher, labels = batch()
    student.requires_grad_()
    result = Objective(loss, method(name, ratio), total_steps=1)(student, teacher, labels)
    value, gradient = defined(name, loss, ratio)
    torch.testing.assert_close(result.loss.detach(), value)
    result.loss.backward()
    torch.testing.assert_close(student.grad, gradient, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in indicator if name != "nmtkd"])
def test_it_is_another_gradient_than_the_detached_one(name: str) -> None:
    released, detached = (defined(name, "reverse_kl", 1.0, detach=cut)[1] for cut in (False, True))
    cosine = torch.nn.functional.cosine_similarity(released.flatten(), detached.flatten(), dim=0)
    assert float(cosine) < 0.999


def test_nmtkd_is_detached_in_the_released_code_too() -> None:
    student, teacher, labels = batch()
    gradients = []
    for detach in (True, False):
        leaf = student.clone().requires_grad_()
        spec = method("nmtkd", 1.0, detach=detach)
        Objective("reverse_kl", spec, total_steps=1)(leaf, teacher, labels).loss.backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("size", [1, 2000, 1 << 28])
def test_hidden_states_and_head_get_the_same_gradient(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "CACHED_BYTES", size)
    generator = torch.Generator().manual_seed(4)
    states, weight = (
        torch.randn(rows, WIDTH, generator=generator, dtype=torch.float64)
        for rows in (TOKENS, VOCABULARY)
    )
    bias = torch.randn(VOCABULARY, generator=generator, dtype=torch.float64)
    _, teacher, labels = batch()

    def gradients(given: Any, budget: int) -> list[Tensor]:
        inputs = [part.clone().requires_grad_() for part in (states, weight, bias)]
        objective = Objective("reverse_kl", method("hellinger", 0.55), 1, budget)
        objective(given(*inputs), teacher, labels).loss.backward()
        return [part.grad for part in inputs if part.grad is not None]

    by_hidden = gradients(lambda s, w, b: HiddenStates(s, LMHead(w, b)), size)
    by_logits = gradients(lambda s, w, b: s @ w.T + b, size)
    assert len(by_hidden) == len(by_logits) == 3
    for hidden, logits in zip(by_hidden, by_logits, strict=True):
        torch.testing.assert_close(hidden, logits)


@pytest.mark.parametrize("name", indicator)
def test_models_that_agree_give_a_finite_gradient(name: str) -> None:
    student, _, labels = batch()
    student.requires_grad_()
    objective = Objective("reverse_kl", method(name, 1.0), total_steps=1)
    objective(student, student.detach(), labels).loss.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_entries_that_are_ruled_out_get_no_gradient() -> None:
    student, teacher, labels = batch()
    student[:, 7] = -math.inf
    student.requires_grad_()
    objective = Objective("reverse_kl", method("hellinger", 1.0), total_steps=1)
    objective(student, teacher, labels).loss.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert (student.grad[:, 7] == 0).all()


def test_no_gradient_is_kept_without_autograd() -> None:
    student, teacher, labels = batch()
    objective = Objective("reverse_kl", method("hellinger", 1.0), total_steps=1)
    with torch.no_grad():
        assert not objective(student.requires_grad_(), teacher, labels).loss.requires_grad
