"""Definitions by hand, limits, bounds of settings, and the cost of the import."""

import subprocess
import sys
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adakd.divergences import divergence
from adakd.errors import AdakdError
from adakd.registry import Spec

P = torch.tensor([0.5, 0.5], dtype=torch.float64).log()
Q = torch.tensor([0.25, 0.75], dtype=torch.float64).log()


def value(name: str, student: Tensor = Q, teacher: Tensor = P, **given: float) -> Tensor:
    result: Tensor = divergence.build(Spec(name=name, **given))(student, teacher)
    return result


def random_pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(5, 9, generator=generator, dtype=torch.float64).log_softmax(-1),
        torch.randn(5, 9, generator=generator, dtype=torch.float64).log_softmax(-1),
    )


FORWARD = 0.5 * log(2) + 0.5 * log(2 / 3)
REVERSE = 0.25 * log(1 / 2) + 0.75 * log(3 / 2)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (Spec(name="forward_kl"), FORWARD),
        (Spec(name="reverse_kl"), REVERSE),
        (Spec(name="total_variation"), 0.25),
        # The mixture is (3/8, 5/8).
        (
            Spec(name="jensen_shannon"),
            0.5 * (0.25 * log(2 / 3) + 0.75 * log(6 / 5) + 0.5 * log(4 / 3) + 0.5 * log(4 / 5)),
        ),
        (Spec(name="skew_forward_kl", lam=0.5), 0.5 * log(4 / 3) + 0.5 * log(4 / 5)),
        (Spec(name="skew_reverse_kl", lam=0.5), 0.25 * log(2 / 3) + 0.75 * log(6 / 5)),
        # The head is the first entry; both entries differ by 1/4.
        (Spec(name="adaptive_kl"), 0.5 * FORWARD + 0.5 * REVERSE),
        (Spec(name="adaptive_kl", mu=1.0), FORWARD),
        # p q = (1/8, 3/8), p^2 = (1/4, 1/4), q^2 = (1/16, 9/16): half the squared distance.
        (Spec(name="alpha_beta", alpha=1, beta=1), 0.5 * (1 / 16 + 1 / 16)),
        # w = (2/3, 2/5): p / (p + q).
        (
            Spec(name="todi"),
            log(2) * (2 / 3 * 0.5 - 1 / 3 * 0.25) + log(2 / 3) * (2 / 5 * 0.5 - 3 / 5 * 0.75),
        ),
    ],
    ids=str,
)
def test_by_hand(spec: Spec, expected: float) -> None:
    assert float(value(spec.name, **spec.settings)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "given", "limit"),
    [
        ("skew_forward_kl", {"lam": 0}, "forward_kl"),
        ("skew_reverse_kl", {"lam": 0}, "reverse_kl"),
        ("alpha_beta", {"alpha": 1, "beta": 0}, "forward_kl"),
        ("alpha_beta", {"alpha": 0, "beta": 1}, "reverse_kl"),
    ],
)
def test_the_kls_are_limits(name: str, given: dict[str, float], limit: str) -> None:
    student, teacher = random_pair()
    torch.testing.assert_close(
        value(name, student, teacher, **given), value(limit, student, teacher)
    )


@pytest.mark.parametrize(
    ("alpha", "beta"), [(0, 0), (0, 0.7), (0.2, 0), (0.4, -0.4), (-0.4, 0.4), (0, -0.5)]
)
def test_alpha_beta_is_continuous(alpha: float, beta: float) -> None:
    student, teacher = random_pair()
    at = value("alpha_beta", student, teacher, alpha=alpha, beta=beta)
    near = value("alpha_beta", student, teacher, alpha=alpha + 1e-5, beta=beta + 2e-5)
    torch.testing.assert_close(at, near, rtol=1e-3, atol=1e-3)


def test_skew_forward_is_the_other_skew_from_the_other_side() -> None:
    student, teacher = random_pair()
    forward = value("skew_forward_kl", student, teacher, lam=0.3)
    torch.testing.assert_close(forward, value("skew_reverse_kl", teacher, student, lam=0.3))


@settings(max_examples=30, deadline=None)
@given(lam=st.floats(0.001, 0.999), scale=st.floats(0.1, 60))
def test_jensen_shannon_is_bounded(lam: float, scale: float) -> None:
    student, teacher = (scale * given for given in random_pair())
    student, teacher = student.log_softmax(-1), teacher.log_softmax(-1)
    bound = -lam * log(lam) - (1 - lam) * log(1 - lam)
    values = value("jensen_shannon", student, teacher, lam=lam)
    assert bool((values >= -1e-9).all())
    assert bool((values <= bound + 1e-9).all())


@settings(max_examples=30, deadline=None)
@given(temperature=st.floats(0.05, 20), scale=st.floats(0.1, 60))
def test_todi_is_never_negative(temperature: float, scale: float) -> None:
    student, teacher = ((scale * given).log_softmax(-1) for given in random_pair())
    assert bool((value("todi", student, teacher, temperature=temperature) >= 0).all())


def test_settings_out_of_bounds_are_refused() -> None:
    for spec in (
        Spec(name="jensen_shannon", lam=1),
        Spec(name="skew_reverse_kl", lam=-0.1),
        Spec(name="adaptive_kl", mu=2),
        Spec(name="todi", temperature=0),
        Spec(name="alpha_beta", alpha=float("nan")),
    ):
        with pytest.raises(AdakdError, match=spec.name):
            divergence.resolve(spec)


def test_naming_the_parts_needs_no_torch() -> None:
    code = "import adakd.divergences, adakd.adaptive, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
