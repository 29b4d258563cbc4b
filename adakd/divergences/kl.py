"""Forward and reverse Kullback-Leibler divergence."""

from typing import TYPE_CHECKING

from adakd.divergences.base import derivative, divergence, entry_form

if TYPE_CHECKING:
    from torch import Tensor

    from adakd.divergences.pair import Pair


@divergence("forward_kl")
def forward_kl(student: "Tensor", teacher: "Tensor") -> "Tensor":
    r"""Make the student cover everything the teacher considers likely (mode covering).

    .. math:: D(p, q) = \sum_v p_v (\log p_v - \log q_v)

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.

    Returns:
        One value per token, of shape ``(...)``: no mask, temperature or mean applied.

    References:
        `Distilling the Knowledge in a Neural Network <https://arxiv.org/abs/1503.02531>`_, 2015.
    """
    return (teacher.exp() * (teacher - student)).sum(-1)


@derivative(forward_kl)
def forward_kl_derivative(pair: "Pair") -> "tuple[Tensor, Tensor]":
    r""":math:`q_v - p_v`."""
    q, p, gap = pair.q, pair.p, pair.gap
    gradient = q.sub_(p)
    return -p.mul_(gap).sum(-1), gradient


@entry_form(forward_kl)
def _(log_q: "Tensor", log_p: "Tensor", q: "Tensor", p: "Tensor") -> "tuple[Tensor, Tensor]":
    return p * (log_p - log_q), -p


@divergence("reverse_kl")
def reverse_kl(student: "Tensor", teacher: "Tensor") -> "Tensor":
    r"""Restrict the student to what the teacher considers likely (mode seeking).

    .. math:: D(p, q) = \sum_v q_v (\log q_v - \log p_v)

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.

    Returns:
        One value per token, of shape ``(...)``.

    References:
        `MiniLLM <https://arxiv.org/abs/2306.08543>`_, 2023.
    """
    return (student.exp() * (student - teacher)).sum(-1)


@derivative(reverse_kl)
def reverse_kl_derivative(pair: "Pair") -> "tuple[Tensor, Tensor]":
    r""":math:`q_v (\log q_v - \log p_v - D)`."""
    q, gap = pair.q, pair.gap
    values = (q * gap).sum(-1)
    return values, gap.sub_(values.unsqueeze(-1)).mul_(q)


@entry_form(reverse_kl)
def _(log_q: "Tensor", log_p: "Tensor", q: "Tensor", p: "Tensor") -> "tuple[Tensor, Tensor]":
    part = q * (log_q - log_p)
    return part, part
