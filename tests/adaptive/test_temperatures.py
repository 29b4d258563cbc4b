"""Temperatures by hand."""

from math import exp

import pytest
import torch

from adakd.adaptive import temperature
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
