"""The alpha-beta divergence, a family with both KLs as limits."""

from typing import TYPE_CHECKING

from adakd.config.numbers import Finite
from adakd.divergences.base import derivative, divergence, entry_form
from adakd.divergences.pair import LOG2_E, exp

if TYPE_CHECKING:
    from torch import Tensor

    from adakd.divergences.pair import Pair


@divergence("alpha_beta")
def alpha_beta(
    student: "Tensor", teacher: "Tensor", *, alpha: Finite = 0.2, beta: Finite = 0.7
) -> "Tensor":
    r"""Trade hardness (focus on large differences) against confidence (focus on likely entries).

    .. math::
        D(p, q) = -\frac{1}{\alpha \beta} \sum_v \Big[ p_v^\alpha q_v^\beta
        - \frac{\alpha}{\alpha + \beta} p_v^{\alpha + \beta}
        - \frac{\beta}{\alpha + \beta} q_v^{\alpha + \beta} \Big]

    and its limits where :math:`\alpha`, :math:`\beta` or :math:`\alpha + \beta` is 0: ``(1, 0)``
    is the forward KL and ``(0, 1)`` the reverse. The reference implementation divides these limits
    by :math:`\alpha` where the limit has :math:`\alpha^2`; here they are continuous.

    Args:
        student: log-probabilities :math:`\log q` of shape ``(..., V)``.
        teacher: log-probabilities :math:`\log p` of shape ``(..., V)``.
        alpha: the teacher's exponent :math:`\alpha`.
        beta: the student's exponent :math:`\beta`.

    Returns:
        One value per token, of shape ``(...)``. With a negative exponent it is infinite where a
        probability underflows to 0.

    References:
        `ABKD <https://arxiv.org/abs/2505.04560>`_, 2025.
    """
    if alpha == 0 and beta == 0:
        return 0.5 * (teacher - student).square().sum(-1)
    if alpha == 0:
        return _one_power(student, teacher, beta)
    if beta == 0:
        return _one_power(teacher, student, alpha)
    if alpha + beta == 0:
        return _opposite_powers(student, teacher, alpha)
    total = alpha + beta
    product = (alpha * teacher + beta * student).exp()
    ends = alpha / total * (total * teacher).exp() + beta / total * (total * student).exp()
    return (ends - product).sum(-1) / (alpha * beta)


def _one_power(first: "Tensor", second: "Tensor", power: float) -> "Tensor":
    r"""Return the limit :math:`\sum a^n (\log a^n - \log b^n) - a^n + b^n` over :math:`n^2`."""
    a, b = power * first, power * second
    return (a.exp() * (a - b) - a.exp() + b.exp()).sum(-1) / power**2


def _opposite_powers(student: "Tensor", teacher: "Tensor", alpha: float) -> "Tensor":
    r"""Return the limit :math:`\sum (p/q)^\alpha - 1 - \log (p/q)^\alpha` over :math:`\alpha^2`."""
    ratio = alpha * (teacher - student)
    return (ratio.expm1() - ratio).sum(-1) / alpha**2


@derivative(alpha_beta)
def _(pair: "Pair", *, alpha: float, beta: float) -> "tuple[Tensor, Tensor]":
    r""":math:`g_v - q_v \sum_u g_u` with :math:`g = (q^{a + b} - p^a q^b) / a`, and its limits."""
    log_q, log_p, total = pair.log_q, pair.log_p, alpha + beta
    if alpha == 0:
        slope = exp(log_q, beta).mul_(pair.gap)
        return alpha_beta(log_q, log_p, alpha=alpha, beta=beta), pair.by_logits(slope)
    product = (log_p * (alpha * LOG2_E)).add_(log_q, alpha=beta * LOG2_E).exp2_()
    slope = exp(log_q, total).sub_(product).div_(alpha)
    if beta == 0 or total == 0:
        return alpha_beta(log_q, log_p, alpha=alpha, beta=beta), pair.by_logits(slope)
    # The coefficients of both powers sum to that of p^a q^b: the value splits into two differences.
    theirs = exp(log_p, total).sub_(product).sum(-1).div_(beta)
    return (theirs + slope.sum(-1)) / total, pair.by_logits(slope)


@entry_form(alpha_beta)
def _(
    log_q: "Tensor", log_p: "Tensor", q: "Tensor", p: "Tensor", alpha: float, beta: float
) -> "tuple[Tensor, Tensor]":
    gap = log_q - log_p
    if alpha == 0 and beta == 0:
        return 0.5 * gap * gap, gap
    if alpha == 0:
        ours, theirs = (beta * log_q).exp(), (beta * log_p).exp()
        return (ours * (beta * gap) - ours + theirs) / (beta * beta), ours * gap
    if beta == 0:
        ours, theirs = (alpha * log_q).exp(), (alpha * log_p).exp()
        return (ours - theirs - theirs * (alpha * gap)) / (alpha * alpha), (ours - theirs) / alpha
    if alpha + beta == 0:
        ratio = (-alpha * gap).exp()
        return (ratio - 1 + alpha * gap) / (alpha * alpha), (1 - ratio) / alpha
    total = alpha + beta
    ours, theirs = (total * log_q).exp(), (total * log_p).exp()
    product = (alpha * log_p + beta * log_q).exp()
    whole = (alpha / total) * theirs + (beta / total) * ours - product
    return whole / (alpha * beta), (ours - product) / alpha
