"""The generalised Jensen-Shannon divergence."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from adakd.divergences.base import derivative, divergence, entry_form
from adakd.divergences.kl import forward_kl
from adakd.divergences.mixture import mix, mixture

if TYPE_CHECKING:
    from torch import Tensor

    from adakd.divergences.pair import Pair


@divergence("jensen_shannon")
def jensen_shannon(
    student: "Tensor", teacher: "Tensor", *, lam: Annotated[float, Field(gt=0, lt=1)] = 0.5
) -> "Tensor":
    r"""Compare both models with their mixture: bounded, and symmetric for ``lam=0.5``.

    .. math::
        D(p, q) = \lambda\, KL(q, m) + (1 - \lambda)\, KL(p, m), \quad
        m = (1 - \lambda)\, p + \lambda\, q

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.
        lam: the student's share of the mixture; AdaKD's reference implementation uses 0.9. It is
            1 - ``beta`` of TRL's GKD.

    Returns:
        One value per token, of shape ``(...)``.

    References:
        `On-Policy Distillation of Language Models <https://arxiv.org/abs/2306.13649>`_, 2023.
    """
    middle = mixture(teacher, student, lam)
    return lam * forward_kl(middle, student) + (1 - lam) * forward_kl(middle, teacher)


@derivative(jensen_shannon)
def _(pair: "Pair", *, lam: float) -> "tuple[Tensor, Tensor]":
    r""":math:`\lambda\, q_v (\log q_v / m_v - KL(q, m))`."""
    q, p = pair.q, pair.p
    middle = mix(p, q, lam).log_()
    ours = pair.log_q - middle
    theirs = (pair.log_p - middle).mul_(p).sum(-1)
    apart = (ours * q).sum(-1)
    gradient = ours.sub_(apart.unsqueeze(-1)).mul_(q).mul_(lam)
    return lam * apart + (1 - lam) * theirs, gradient


@entry_form(jensen_shannon)
def _(
    log_q: "Tensor", log_p: "Tensor", q: "Tensor", p: "Tensor", lam: float
) -> "tuple[Tensor, Tensor]":
    log_m = (p + lam * (q - p) + 1e-37).log()
    ours = lam * q * (log_q - log_m)
    return ours + (1 - lam) * p * (log_p - log_m), ours
