"""Adaptive KL: forward KL for errors in the head of the distribution, reverse for the tail."""

from typing import TYPE_CHECKING

from adakd.config.numbers import Share
from adakd.divergences.base import derivative, divergence
from adakd.divergences.kl import forward_kl, reverse_kl

if TYPE_CHECKING:
    from torch import Tensor

    from adakd.divergences.pair import Pair

SHORT = 128
"""Number of top entries among which the head is first searched: it rarely has more, and sorting
these costs a fiftieth of sorting the vocabulary."""


@divergence("adaptive_kl")
def adaptive_kl(student: "Tensor", teacher: "Tensor", *, mu: Share = 0.5) -> "Tensor":
    r"""Weight forward and reverse KL by where the two models differ.

    .. math:: D(p, q) = w\, KL(p, q) + (1 - w)\, KL(q, p), \quad
        w = \frac{\sum_{v \in head} |p_v - q_v|}{\sum_v |p_v - q_v|}

    The head is the longest prefix of the teacher's ranked entries with a mass of at most
    :math:`\mu`; it always holds the first entry. No gradient flows through :math:`w`.

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.
        mu: the largest mass :math:`\mu` of the head.

    Returns:
        One value per token, of shape ``(...)``.

    References:
        `Rethinking Kullback-Leibler Divergence in Knowledge Distillation for Large Language Models
        <https://arxiv.org/abs/2404.02657>`_, 2024.
    """
    weight = _head_share(student.detach().exp(), teacher.detach().exp(), mu)
    return weight * forward_kl(student, teacher) + (1 - weight) * reverse_kl(student, teacher)


@derivative(adaptive_kl)
def _(pair: "Pair", *, mu: float) -> "tuple[Tensor, Tensor]":
    r""":math:`w\, (q_v - p_v) + (1 - w)\, q_v (\log q_v - \log p_v - KL(q, p))`."""
    q, p, gap = pair.q, pair.p, pair.gap
    weight = _head_share(q, p, mu).unsqueeze(-1)
    forward, reverse = -(p * gap).sum(-1, keepdim=True), (q * gap).sum(-1, keepdim=True)
    values = weight * forward + (1 - weight) * reverse
    gradient = gap.sub_(reverse).mul_(1 - weight).add_(weight).mul_(q)
    return values.squeeze(-1), gradient.addcmul_(p, weight, value=-1)


def _head_share(q: "Tensor", p: "Tensor", mu: float) -> "Tensor":
    """Return the share of the models' difference in the head, given probabilities."""
    # For equal distributions every gap and both KLs are 0: any weight is right, except NaN.
    return _gap_in_head(q, p, mu) / (p - q).abs().sum(-1).clamp_min(1e-30)


def _gap_in_head(q: "Tensor", p: "Tensor", mu: float, among: int = SHORT) -> "Tensor":
    """Return the difference in the head, searched `among` the most likely entries first."""
    likely, order = p.topk(min(among, p.shape[-1]), dim=-1)
    mass = likely.cumsum(-1)
    head = mass <= mu
    head[..., 0] = True
    gap = ((likely - q.gather(-1, order)).abs() * head).sum(-1)
    longer = mass[..., -1] <= mu
    if among < p.shape[-1] and bool(longer.any()):
        gap[longer] = _gap_in_head(q[longer], p[longer], mu, 32 * among)
    return gap
