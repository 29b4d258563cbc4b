"""Adaptive KL: forward where the head of the vocabulary is off, reverse where the tail is."""

from typing import TYPE_CHECKING

from adakd.config.numbers import Share
from adakd.divergences.base import derivative, divergence
from adakd.divergences.kl import forward_kl, reverse_kl

if TYPE_CHECKING:
    from torch import Tensor

    from adakd.divergences.pair import Pair

SHORT = 128
"""Words among which the head is looked for first: it seldom has more, and then these are sorted
at a fiftieth of the cost of a vocabulary."""


@divergence("adaptive_kl")
def adaptive_kl(student: "Tensor", teacher: "Tensor", *, mu: Share = 0.5) -> "Tensor":
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
    """Return the share of the models' difference that lies in the head, given probabilities."""
    # Where the two agree every gap is 0, and so are both KLs: any weight will do, NaN will not.
    return _gap_in_head(q, p, mu) / (p - q).abs().sum(-1).clamp_min(1e-30)


def _gap_in_head(q: "Tensor", p: "Tensor", mu: float, among: int = SHORT) -> "Tensor":
    """Return the difference in the head, which is looked for `among` the most likely words."""
    likely, order = p.topk(min(among, p.shape[-1]), dim=-1)
    mass = likely.cumsum(-1)
    head = mass <= mu
    head[..., 0] = True
    gap = ((likely - q.gather(-1, order)).abs() * head).sum(-1)
    longer = mass[..., -1] <= mu
    if among < p.shape[-1] and bool(longer.any()):
        gap[longer] = _gap_in_head(q[longer], p[longer], mu, 32 * among)
    return gap
