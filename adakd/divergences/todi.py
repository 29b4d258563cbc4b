"""ToDi: forward and reverse KL, mixed separately for every vocabulary entry."""

from typing import TYPE_CHECKING

from adakd.config.numbers import Positive
from adakd.divergences.base import derivative, divergence, entry_form

if TYPE_CHECKING:
    from torch import Tensor

    from adakd.divergences.pair import Pair


@divergence("todi")
def todi(student: "Tensor", teacher: "Tensor", *, temperature: Positive = 1.0) -> "Tensor":
    r"""Raise entries the student finds too unlikely, lower those it finds too likely.

    .. math::
        D(p, q) = \sum_v w_v\, p_v \log \frac{p_v}{q_v} + (1 - w_v)\, q_v \log \frac{q_v}{p_v},
        \quad w_v = \sigma\Big(\frac{1}{T} \log \frac{p_v}{q_v}\Big)

    No gradient flows through :math:`w`.

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.
        temperature: :math:`T`; the lower, the sharper the switch between the two.

    Returns:
        One value per token, of shape ``(...)``.

    References:
        `ToDi <https://arxiv.org/abs/2505.16297>`_, 2025.
    """
    ratio = teacher - student
    weight = (ratio.detach() / temperature).sigmoid()
    return (ratio * (weight * teacher.exp() - (1 - weight) * student.exp())).sum(-1)


@derivative(todi)
def _(pair: "Pair", *, temperature: float) -> "tuple[Tensor, Tensor]":
    r""":math:`g_v - q_v \sum_u g_u` with :math:`g = (1 - w) (1 + \log q/p)\, q - w p`."""
    q, p, gap = pair.q, pair.p, pair.gap
    weight = (gap / -temperature).sigmoid_()
    forward = p.mul_(weight)
    reverse = weight.neg_().add_(1).mul_(q)
    apart = reverse - forward
    values = (apart * gap).sum(-1)
    return values, pair.by_logits(apart.add_(gap.mul_(reverse)))


@entry_form(todi)
def _(
    log_q: "Tensor", log_p: "Tensor", q: "Tensor", p: "Tensor", temperature: float
) -> "tuple[Tensor, Tensor]":
    ratio = log_p - log_q
    weight = (ratio / temperature).sigmoid()
    reverse = (1 - weight) * q
    apart = weight * p - reverse
    return apart * ratio, -apart - reverse * ratio
