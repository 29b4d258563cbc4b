"""Adaptive KL: forward where the head of the vocabulary is off, reverse where the tail is."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from adakd.divergences.kl import forward_kl, reverse_kl
from adakd.divergences.registry import divergence

if TYPE_CHECKING:
    from torch import Tensor


@divergence("adaptive_kl")
def adaptive_kl(
    student: "Tensor", teacher: "Tensor", *, mu: Annotated[float, Field(ge=0, le=1)] = 0.5
) -> "Tensor":
    r"""Weigh forward against reverse KL by where the two models differ.

    .. math:: D(p, q) = w\, KL(p, q) + (1 - w)\, KL(q, p), \quad
        w = \frac{\sum_{v \in head} |p_v - q_v|}{\sum_v |p_v - q_v|}

    The head is the longest run of the teacher's most likely words with a mass of at most
    :math:`\mu`, and holds the first word in any case. No gradient flows through :math:`w`.

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.
        mu: the mass :math:`\mu` that the head may hold.

    Returns:
        One value a token, of shape ``(...)``.

    References:
        `Rethinking Kullback-Leibler Divergence in Knowledge Distillation for Large Language Models
        <https://arxiv.org/abs/2404.02657>`_, 2024.
    """
    weight = _head_share(student.detach(), teacher.detach(), mu)
    return weight * forward_kl(student, teacher) + (1 - weight) * reverse_kl(student, teacher)


def _head_share(student: "Tensor", teacher: "Tensor", mu: float) -> "Tensor":
    likely, order = teacher.exp().sort(dim=-1, descending=True)
    gap = (likely - student.exp().gather(-1, order)).abs()
    head = likely.cumsum(-1) <= mu
    head[..., 0] = True
    # Where the two agree every gap is 0, and so are both KLs: any weight will do, NaN will not.
    return (gap * head).sum(-1) / gap.sum(-1).clamp_min(1e-30)
