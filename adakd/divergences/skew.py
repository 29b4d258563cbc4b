"""Skew Kullback-Leibler divergences: mixing one model into the other bounds the value."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from adakd.divergences.base import derivative, divergence, entry_form
from adakd.divergences.kl import (
    forward_kl,
    forward_kl_derivative,
    reverse_kl,
    reverse_kl_derivative,
)
from adakd.divergences.mixture import mix, mixture, positive

if TYPE_CHECKING:
    from torch import Tensor

    from adakd.divergences.pair import Pair


@divergence("skew_forward_kl")
def skew_forward_kl(
    student: "Tensor", teacher: "Tensor", *, lam: Annotated[float, Field(ge=0, lt=1)] = 0.1
) -> "Tensor":
    r"""Forward KL to a mixture of the student with a share of the teacher.

    .. math:: D(p, q) = KL(p,\; \lambda\, p + (1 - \lambda)\, q)

    The reference implementation leaves out the teacher's entropy: the gradient is the same, but the
    value differs and is not 0 for equal distributions.

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.
        lam: the teacher's share of the mixture; 0 is the forward KL.

    Returns:
        One value per token, of shape ``(...)``.

    References:
        `DistiLLM <https://arxiv.org/abs/2402.03898>`_, 2024.
    """
    return forward_kl(mixture(student, teacher, lam), teacher)


@derivative(skew_forward_kl)
def _(pair: "Pair", *, lam: float) -> "tuple[Tensor, Tensor]":
    r""":math:`g_v - q_v \sum_u g_u` with :math:`g = -(1 - \lambda)\, q p / m`."""
    if lam == 0:
        return forward_kl_derivative(pair)
    q, p = pair.q, pair.p
    ratio = positive(p / mix(q, p, lam))
    gradient = pair.by_logits((ratio * q).mul_(lam - 1))
    return ratio.log_().mul_(p).sum(-1), gradient


@entry_form(skew_forward_kl)
def _(
    log_q: "Tensor", log_p: "Tensor", q: "Tensor", p: "Tensor", lam: float
) -> "tuple[Tensor, Tensor]":
    middle = q + lam * (p - q) + 1e-37
    return p * (log_p - middle.log()), (lam - 1) * q * (p / middle)


@divergence("skew_reverse_kl")
def skew_reverse_kl(
    student: "Tensor", teacher: "Tensor", *, lam: Annotated[float, Field(ge=0, lt=1)] = 0.1
) -> "Tensor":
    r"""Reverse KL to a mixture of the teacher with a share of the student.

    .. math:: D(p, q) = KL(q,\; (1 - \lambda)\, p + \lambda\, q)

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.
        lam: the student's share of the mixture; 0 is the reverse KL.

    Returns:
        One value per token, of shape ``(...)``.

    References:
        `DistiLLM <https://arxiv.org/abs/2402.03898>`_, 2024.
    """
    return reverse_kl(student, mixture(teacher, student, lam))


@derivative(skew_reverse_kl)
def _(pair: "Pair", *, lam: float) -> "tuple[Tensor, Tensor]":
    r""":math:`g_v - q_v \sum_u g_u` with :math:`g = q (\log q / m - \lambda\, q / m)`."""
    if lam == 0:
        return reverse_kl_derivative(pair)
    q = pair.q
    ratio = positive(q / mix(pair.p, q, lam))
    gap = ratio.log()
    return (q * gap).sum(-1), pair.by_logits(gap.add_(ratio, alpha=-lam).mul_(q))


@entry_form(skew_reverse_kl)
def _(
    log_q: "Tensor", log_p: "Tensor", q: "Tensor", p: "Tensor", lam: float
) -> "tuple[Tensor, Tensor]":
    middle = p + lam * (q - p) + 1e-37
    part = q * (log_q - middle.log())
    return part, part - lam * q * (q / middle)
