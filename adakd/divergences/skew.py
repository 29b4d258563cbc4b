"""Skew Kullback-Leibler divergences: one side is mixed into the other, which bounds the value."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from adakd.divergences.kl import forward_kl, reverse_kl
from adakd.divergences.mixture import mixture
from adakd.divergences.registry import divergence

if TYPE_CHECKING:
    from torch import Tensor


@divergence("skew_forward_kl")
def skew_forward_kl(
    student: "Tensor", teacher: "Tensor", *, lam: Annotated[float, Field(ge=0, lt=1)] = 0.1
) -> "Tensor":
    r"""Forward KL to the student with a share of the teacher mixed in.

    .. math:: D(p, q) = KL(p,\; \lambda\, p + (1 - \lambda)\, q)

    The official code leaves out the teacher's entropy: the same gradient, another value, and not
    0 where the two agree.

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.
        lam: the teacher's share of the mixture; 0 is the forward KL.

    Returns:
        One value a token, of shape ``(...)``.

    References:
        `DistiLLM <https://arxiv.org/abs/2402.03898>`_, 2024.
    """
    return forward_kl(mixture(student, teacher, lam), teacher)


@divergence("skew_reverse_kl")
def skew_reverse_kl(
    student: "Tensor", teacher: "Tensor", *, lam: Annotated[float, Field(ge=0, lt=1)] = 0.1
) -> "Tensor":
    r"""Reverse KL to the teacher with a share of the student mixed in.

    .. math:: D(p, q) = KL(q,\; (1 - \lambda)\, p + \lambda\, q)

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.
        lam: the student's share of the mixture; 0 is the reverse KL.

    Returns:
        One value a token, of shape ``(...)``.

    References:
        `DistiLLM <https://arxiv.org/abs/2402.03898>`_, 2024.
    """
    return reverse_kl(student, mixture(teacher, student, lam))
