"""Values and gradients of the official implementations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from adakd.divergences import Divergence, Pair, divergence
from adakd.divergences.autograd import differentiate
from adakd.registry import Spec

VECTORS = np.load(Path(__file__).parents[1] / "golden" / "vectors.npz")
CASES = range(4)


def without_entropy(student: Tensor, teacher: Tensor) -> Tensor:
    """The official skew forward KL: our value less the constant sum p log p."""
    whole = divergence.build(Spec(name="skew_forward_kl"))(student, teacher)
    return whole - (teacher.exp() * teacher).sum(-1)


NAMES: dict[str, Divergence] = {
    "forward_kl": divergence["forward_kl"],
    "reverse_kl": divergence["reverse_kl"],
    "js_lam0.9": divergence.build(Spec(name="jensen_shannon", lam=0.9)),
    "js_lam0.5": divergence["jensen_shannon"],
    "total_variation": divergence["total_variation"],
    "skewed_forward_kl_lam0.1": divergence["skew_forward_kl"],
    "skewed_forward_kl_official_no_entropy": without_entropy,
    "skewed_reverse_kl_lam0.1": divergence["skew_reverse_kl"],
    "adaptive_kl_mu0.5": divergence["adaptive_kl"],
    "alpha_beta_0.2_0.7": divergence["alpha_beta"],
    "todi": divergence["todi"],
}


def golden(key: str) -> Tensor:
    return torch.from_numpy(VECTORS[key])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient(name: str, case: int) -> None:
    logits = golden(f"case{case}.student_logits").requires_grad_()
    teacher = golden(f"case{case}.teacher_logits").log_softmax(-1)
    values = NAMES[name](logits.log_softmax(-1), teacher)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    close = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(values.detach(), golden(f"case{case}.{name}.value"), **close)
    torch.testing.assert_close(gradient, golden(f"case{case}.{name}.grad"), **close)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_declared_derivative(name: str, case: int) -> None:
    """In float64 the golden numbers; in float32 as near to those as golden numbers have to be."""
    student, teacher = (golden(f"case{case}.{side}_logits") for side in ("student", "teacher"))
    words, close = student.shape[-1], {"rtol": 1e-5, "atol": 1e-6}
    sides = student.reshape(-1, words), teacher.reshape(-1, words)
    exact = differentiate(NAMES[name], Pair(*(side.double() for side in sides)))
    for part, kind in zip(exact, ("value", "grad"), strict=True):
        wanted = golden(f"case{case}.{name}.{kind}")
        torch.testing.assert_close(part.float().view_as(wanted), wanted, **close)
    for part, rounded in zip(exact, differentiate(NAMES[name], Pair(*sides)), strict=True):
        torch.testing.assert_close(rounded, part.float(), **close)


def test_every_golden_divergence_is_compared() -> None:
    files = {key.split(".", 1)[1].rpartition(".")[0] for key in VECTORS if key.endswith(".value")}
    assert files == set(NAMES)
