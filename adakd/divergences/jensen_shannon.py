"""The generalised Jensen-Shannon divergence."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from adakd.divergences.kl import forward_kl
from adakd.divergences.mixture import mix, mixture
from adakd.divergences.registry import derivative, divergence

if TYPE_CHECKING:
    from torch import Tensor

    from adakd.divergences.pair import Pair


@divergence("jensen_shannon")
def jensen_shannon(
    student: "Tensor", teacher: "Tensor", *, lam: Annotated[float, Field(gt=0, lt=1)] = 0.5
) -> "Tensor":
    r"""Compare both models with their mixture: bounded, and symmetric at ``lam=0.5``.

    .. math::
        D(p, q) = \lambda\, KL(q, m) + (1 - \lambda)\, KL(p, m), \quad
        m = (1 - \lambda)\, p + \lambda\, q

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.
        lam: the student's share of the mixture; AdaKD's own code runs 0.9.

    Returns:
        One value a token, of shape ``(...)``.

    References:
        `On-Policy Distillation of Language Models <https://arxiv.org/abs/2306.13649>`_, 2023.
    """
    middle = mixture(teacher, student, lam)
    return lam * forward_kl(middle, student) + (1 - lam) * forward_kl(middle, teacher)


@derivative(jensen_shannon)
def _(pair: "Pair", *, lam: float) -> "tuple[Tensor, Tensor]":
    r""":math:`g_v = \lambda\, q_v (\log q_v - \log m_v)`."""
    middle = mix(pair.p, pair.q, lam).log_()
    slope = (pair.log_q - middle).mul_(pair.q).mul_(lam)
    theirs = middle.sub_(pair.log_p).mul_(pair.p).sum(-1)
    return slope.sum(-1) - (1 - lam) * theirs, slope
