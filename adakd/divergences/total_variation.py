"""The total variation distance."""

from typing import TYPE_CHECKING

from adakd.divergences.base import derivative, divergence, entry_form

if TYPE_CHECKING:
    from torch import Tensor

    from adakd.divergences.pair import Pair


@divergence("total_variation")
def total_variation(student: "Tensor", teacher: "Tensor") -> "Tensor":
    r"""Measure the probability mass on which the two models differ.

    .. math:: D(p, q) = \tfrac{1}{2} \sum_v |p_v - q_v|

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.

    Returns:
        One value per token between 0 and 1, of shape ``(...)``. For equal distributions the
        gradient is 0, one of the subgradients.

    References:
        `f-Divergence Minimization for Sequence-Level Knowledge Distillation
        <https://arxiv.org/abs/2307.15190>`_, 2023.
    """
    return 0.5 * (teacher.exp() - student.exp()).abs().sum(-1)


@derivative(total_variation)
def _(pair: "Pair") -> "tuple[Tensor, Tensor]":
    r""":math:`\tfrac{1}{2} q_v (s_v - \sum_u q_u s_u)` with :math:`s = sign(q - p)`."""
    gap = pair.p.sub_(pair.q)
    slope = gap.sign().mul_(pair.q).mul_(-0.5)
    return 0.5 * gap.abs_().sum(-1), pair.by_logits(slope)


@entry_form(total_variation)
def _(log_q: "Tensor", log_p: "Tensor", q: "Tensor", p: "Tensor") -> "tuple[Tensor, Tensor]":
    gap = q - p
    return 0.5 * gap.abs(), q * (0.5 * (gap > 0) - 0.5 * (gap < 0))
