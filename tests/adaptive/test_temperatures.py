"""Temperatures by hand."""

from math import exp
from typing import Any

import pytest
import torch
from torch import Tensor

from adakd.adaptive import adaptive, temperature
from adakd.losses.objective import Objective
from adakd.registry import Spec


def temperatures(scores: list[float], **settings: float) -> list[float]:
    tau = temperature.build(Spec(name="idts", **settings))(torch.tensor(scores))
    return list(tau.tolist())


# tanh(log 2) = 3/5, so a token twice as hard as the median moves by exp(-0.3) at c = 0.5.
HARD, EASY = exp(-0.3), exp(0.3)


def test_by_hand() -> None:
    assert temperatures([1, 2, 4]) == pytest.approx([EASY, 1, HARD])


def test_the_median_is_the_lower_one() -> None:
    assert temperatures([2, 1]) == pytest.approx([HARD, 1])


def test_base_and_strength() -> None:
    assert temperatures([1, 2, 4], base=2) == pytest.approx([2 * EASY, 2, 2 * HARD])
    assert temperatures([1, 2, 4], c=-0.5) == pytest.approx([HARD, 1, EASY])
    assert temperatures([1, 2, 4], c=0) == [1, 1, 1]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0, 0, 0], [1, 1, 1]),
        ([0, 0, 1], [1, 1, exp(-0.5)]),
        ([0, 1, 1], [exp(0.5), 1, 1]),
        ([-1e-8, 1, 1], [exp(0.5), 1, 1]),
    ],
)
def test_a_token_that_both_agree_on_is_as_easy_as_can_be(
    scores: list[float], expected: list[float]
) -> None:
    assert temperatures(scores) == pytest.approx(expected)


def test_no_gradient() -> None:
    scores = torch.tensor([1.0, 2.0], requires_grad=True)
    assert not temperature.build(Spec(name="idts"))(scores).requires_grad


def test_fixed() -> None:
    scores = torch.tensor([1.0, 2.0])
    assert temperature.build(Spec(name="fixed", value=0.8))(scores).tolist() == pytest.approx(
        [0.8, 0.8]
    )
    assert temperature.build(Spec(name="fixed"))(scores) is None


# --- the ablations of the released code ---------------------------------------------------------


def scores(temperature: Any, student: Tensor, teacher: Tensor) -> Tensor:
    made = adaptive.build(Spec(name="adakd", scored="tempered", temperature=temperature))
    log_q, log_p = student.log_softmax(-1), teacher.log_softmax(-1)
    found: Tensor = made.score(log_q, log_p, torch.zeros(len(student), dtype=torch.long))
    return found


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    gap = teacher.softmax(-1).sqrt() - student.softmax(-1).sqrt()
    return gap.norm(dim=-1) / 2**0.5


@pytest.mark.parametrize(
    ("temperature", "before"),
    [
        ({"name": "fixed", "value": 0.8}, lambda z: z / 0.8),
        ({"name": "ctkd", "low": 0.5, "span": 3, "start": 0}, lambda z: z / 2),
        ({"name": "ctkd_released", "start": 1.6}, lambda z: z / 1.6),
        ("zscore", lambda z: (z - z.mean(-1, keepdim=True)) / z.std(-1, keepdim=True)),
        ("idts", lambda z: z),
        ("fixed", lambda z: z),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_indicators_may_read_tempered_logits(temperature: Any, before: Any) -> None:
    student, teacher = torch.randn(2, 6, 11, dtype=torch.float64).unbind()
    torch.testing.assert_close(
        scores(temperature, student, teacher), distance(before(student), before(teacher))
    )


def test_tempered_scores_of_entries_that_are_ruled_out_are_finite() -> None:
    student, teacher = torch.randn(2, 6, 11).unbind()
    teacher[:, 3] = -1e9
    for spec in ({"name": "fixed", "value": 0.8}, "zscore", "ctkd_released"):
        assert scores(spec, student, teacher).isfinite().all()


def test_the_released_ctkd_is_its_weight_and_its_square_a_constant() -> None:
    """Worked by autograd: -lambda t^2 dD/dt at t = 1.3, where lambda falls from 1 to 0."""
    student, teacher = torch.randn(2, 6, 11, dtype=torch.float64).unbind()
    labels = torch.zeros(6, dtype=torch.long)
    spec = Spec(name="adakd", focus="fixed", temperature={"name": "ctkd_released", "start": 1.3})
    objective = Objective("reverse_kl", spec, total_steps=4)
    weight = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    log_q, log_p = ((z / weight).log_softmax(-1) for z in (student, teacher))
    value = (log_q.exp() * (log_q - log_p)).sum(-1).mean()
    (slope,) = torch.autograd.grad(value, weight)
    (own,) = objective.parameters()
    for force in (1, (1 + 2**-0.5) / 2, 0.5):
        own.grad = None
        result = objective(student.clone().requires_grad_(), teacher, labels)
        result.loss.backward()
        assert float(result.loss.detach()) == pytest.approx(1.69 * float(value.detach()))
        assert own.grad is not None
        assert float(own.grad) == pytest.approx(-force * 1.69 * float(slope), rel=1e-5)
        objective.step(1.0)
