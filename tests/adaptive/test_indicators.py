"""Indicators by hand."""

from math import log, sqrt

import pytest
import torch
from torch import Tensor

from adakd.adaptive import indicator
from adakd.registry import Spec

P = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
Q = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64)
FORWARD = 0.5 * log(5 / 2) + 0.2 * log(2 / 5)
ENTROPY = -0.2 * log(0.2) - 0.3 * log(0.3) - 0.5 * log(0.5)


def score(name: str, student: Tensor = Q, teacher: Tensor = P, **settings: float) -> Tensor:
    part = indicator.build(Spec(name=name, **settings))
    result: Tensor = part(student.log(), teacher.log(), torch.tensor([0]))
    return result


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hellinger", (sqrt(0.5) - sqrt(0.2))),
        ("forward_kl", FORWARD),
        ("reverse_kl", FORWARD),
        ("jensen_shannon", 0.5 * log(0.5 / 0.35) + 0.2 * log(0.2 / 0.35)),
        ("bhattacharyya", -log(2 * sqrt(0.1) + 0.3)),
        ("cross_entropy", log(5)),
        ("entropy", ENTROPY),
        ("cross_entropy_entropy", log(5) * ENTROPY),
        ("least_confidence", 0.5),
        ("focal_cross_entropy", 0.5 * log(5)),
        ("sensitivity", FORWARD / ENTROPY),
    ],
)
def test_by_hand(name: str, expected: float) -> None:
    assert score(name).tolist() == pytest.approx([expected], rel=1e-6)


def test_ranking_by_hand() -> None:
    # The teacher's top entries are 0 and 1, the student's 2 and 1.
    first = 0.3 - 0.2
    others = (0.5 - 0.2) + (0.3 - 0.2) + (0.5 - 0.3)
    assert score("nmtkd", k=2).tolist() == pytest.approx([first + others])


def test_ranking_takes_no_more_entries_than_there_are() -> None:
    assert torch.equal(score("nmtkd", k=3), score("nmtkd", k=99))


@pytest.mark.parametrize("name", indicator)
def test_one_score_a_token(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(7, 11, generator=generator).log_softmax(-1)
    teacher = torch.randn(7, 11, generator=generator).log_softmax(-1)
    before = student.clone(), teacher.clone()
    scores = indicator.build(Spec(name=name))(student, teacher, torch.arange(7))
    assert scores.shape == (7,)
    assert bool((scores >= 0).all())
    assert torch.equal(student, before[0])
    assert torch.equal(teacher, before[1])


def test_hellinger_tells_easy_tokens_apart() -> None:
    """In float32, where 1 - sum sqrt(p q) would be 0 or worse."""
    teacher = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    student = torch.tensor([[1e-4, 0.0], [2e-4, 0.0]])
    scores = indicator["hellinger"](
        student.log_softmax(-1), teacher.log_softmax(-1), torch.zeros(2, dtype=torch.long)
    )
    assert float(scores[1] / scores[0]) == pytest.approx(2, rel=1e-2)
