"""The reference losses, restated plainly: whole [tokens, vocabulary] tensors, and autograd.

They are what the benchmarks compare with. Memory and time are those of the reference code: every
distribution is a tensor of its own, and the gradient is left to autograd.
"""

import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F


class Distributions:
    """Intermediate results of the reference losses: whole tensors, each made when it is needed."""

    def __init__(self, student: Tensor, teacher: Tensor) -> None:
        self.student, self.teacher = student, teacher

    @cached_property
    def q(self) -> Tensor:
        return F.softmax(self.student, dim=-1, dtype=torch.float32)

    @cached_property
    def p(self) -> Tensor:
        return F.softmax(self.teacher, dim=-1, dtype=torch.float32)

    @cached_property
    def log_q(self) -> Tensor:
        return F.log_softmax(self.student, dim=-1, dtype=torch.float32)

    @cached_property
    def log_p(self) -> Tensor:
        return F.log_softmax(self.teacher, dim=-1, dtype=torch.float32)

    @cached_property
    def infinite(self) -> Tensor:
        return self.student.isinf() | self.teacher.isinf()

    def gap(self, above: Tensor, below: Tensor) -> Tensor:
        terms = above.masked_fill(self.infinite, 0)
        terms -= below.masked_fill(self.infinite, 0)
        return terms.sum(-1)


def forward_kl(d: Distributions) -> Tensor:
    return d.gap(d.p * d.log_p, d.p * d.log_q)


def reverse_kl(d: Distributions) -> Tensor:
    return d.gap(d.q * d.log_q, d.q * d.log_p)


def jensen_shannon(d: Distributions, lam: float = 0.5) -> Tensor:
    log_m = ((1 - lam) * d.p + lam * d.q).clamp(min=1e-8).log()
    ours, theirs = d.gap(d.q * d.log_q, d.q * log_m), d.gap(d.p * d.log_p, d.p * log_m)
    return lam * ours + (1 - lam) * theirs


def total_variation(d: Distributions) -> Tensor:
    return 0.5 * (d.p - d.q).abs().masked_fill(d.infinite, 0).sum(-1)


def skew_forward_kl(d: Distributions, lam: float = 0.1) -> Tensor:
    log_m = (lam * d.p + (1 - lam) * d.q).clamp(min=1e-8).log()
    return d.gap(d.p * d.log_p, d.p * log_m)


def skew_reverse_kl(d: Distributions, lam: float = 0.1) -> Tensor:
    log_m = ((1 - lam) * d.p + lam * d.q).clamp(min=1e-8).log()
    return d.gap(d.q * d.log_q, d.q * log_m)


def adaptive_kl(d: Distributions, mu: float = 0.5) -> Tensor:
    likely, order = d.p.sort(dim=-1, descending=True)
    apart = (likely - d.q.detach().gather(-1, order)).abs()
    tail = likely.cumsum(-1) > mu
    tail[..., 0] = False
    head, rest = apart.masked_fill(tail, 0).sum(-1), apart.masked_fill(~tail, 0).sum(-1)
    return (head * forward_kl(d) + rest * reverse_kl(d)) / (head + rest)


def alpha_beta(d: Distributions, alpha: float = 0.2, beta: float = 0.7) -> Tensor:
    total = alpha + beta
    product = (alpha * d.log_p).exp() * (beta * d.log_q).exp()
    ends = alpha / total * (total * d.log_p).exp() + beta / total * (total * d.log_q).exp()
    return d.gap(ends, product) / (alpha * beta)


def todi(d: Distributions) -> Tensor:
    ratio = d.log_p - d.log_q
    weight = ratio.detach().sigmoid()
    return d.gap(weight * d.p * ratio, (1 - weight) * d.q * ratio)


def plug_in(d: Distributions) -> Tensor:
    return mixed_kl(d.log_q, d.log_p)


def mixed_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """The plug-in of the README."""
    forward = (teacher.exp() * (teacher - student)).sum(-1)
    reverse = (student.exp() * (student - teacher)).sum(-1)
    return 0.5 * forward + 0.5 * reverse


Official = Callable[[Distributions], Tensor]

REFERENCES: dict[str, Official] = {
    function.__name__: function
    for function in (
        adaptive_kl,
        alpha_beta,
        forward_kl,
        jensen_shannon,
        plug_in,
        reverse_kl,
        skew_forward_kl,
        skew_reverse_kl,
        todi,
        total_variation,
    )
}


def plain(function: Official, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    mask = (labels != -100).int()
    return (function(Distributions(student, teacher)) * mask).sum() / mask.sum()


def adakd(function: Official, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """All tokens kept, each at a temperature of its own."""
    chosen, tau = choose(student, teacher, labels)
    kept = [given[chosen] / tau.unsqueeze(-1) for given in (student, teacher)]
    return (function(Distributions(*kept)) * tau**2).mean()


def choose(student: Tensor, teacher: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Hellinger scores and temperatures, which the reference code does not detach."""
    student, teacher = (given.masked_fill(given.isinf(), 0).float() for given in (student, teacher))
    valid = (labels != -100).nonzero().squeeze(-1)
    d = Distributions(student[valid], teacher[valid])
    score = (d.q.sqrt() - d.p.sqrt()).pow(2).sum(-1).sqrt() / math.sqrt(2)
    hardest = score.topk(len(score)).indices
    relative = (score[hardest] / score[hardest].median()).clamp(min=1e-8)
    return valid[hardest], (-0.5 * relative.log().tanh()).exp()


# --- the lean restatement -----------------------------------------------------------------------


def lean_mixture(first: Tensor, second: Tensor, share: float) -> Tensor:
    return torch.logaddexp(first + math.log1p(-share), second + math.log(share))


def lean_jensen_shannon(log_q: Tensor, log_p: Tensor, lam: float = 0.5) -> Tensor:
    log_m = lean_mixture(log_p, log_q, lam)
    return (lam * log_q.exp() * (log_q - log_m) + (1 - lam) * log_p.exp() * (log_p - log_m)).sum(-1)


def lean_adaptive_kl(log_q: Tensor, log_p: Tensor, mu: float = 0.5) -> Tensor:
    p, q, ratio = log_p.exp(), log_q.exp(), log_p - log_q
    likely, order = p.sort(dim=-1, descending=True)
    apart = (likely - q.detach().gather(-1, order)).abs()
    head = likely.cumsum(-1) <= mu
    head[..., 0] = True
    share = (apart * head).sum(-1) / apart.sum(-1)
    return share * (p * ratio).sum(-1) - (1 - share) * (q * ratio).sum(-1)


def lean_alpha_beta(log_q: Tensor, log_p: Tensor, alpha: float = 0.2, beta: float = 0.7) -> Tensor:
    total = alpha + beta
    ends = alpha * (total * log_p).exp() + beta * (total * log_q).exp()
    return (ends / total - (alpha * log_p + beta * log_q).exp()).sum(-1) / (alpha * beta)


def lean_todi(log_q: Tensor, log_p: Tensor) -> Tensor:
    ratio = log_p - log_q
    weight = ratio.detach().sigmoid()
    return ((weight * log_p.exp() - (1 - weight) * log_q.exp()) * ratio).sum(-1)


Lean = Callable[[Tensor, Tensor], Tensor]

LEAN: dict[str, Lean] = {
    "adaptive_kl": lean_adaptive_kl,
    "alpha_beta": lean_alpha_beta,
    "forward_kl": lambda log_q, log_p: (log_p.exp() * (log_p - log_q)).sum(-1),
    "jensen_shannon": lean_jensen_shannon,
    "plug_in": mixed_kl,
    "reverse_kl": lambda log_q, log_p: (log_q.exp() * (log_q - log_p)).sum(-1),
    "skew_forward_kl": lambda log_q, log_p: (
        log_p.exp() * (log_p - lean_mixture(log_q, log_p, 0.1))
    ).sum(-1),
    "skew_reverse_kl": lambda log_q, log_p: (
        log_q.exp() * (log_q - lean_mixture(log_p, log_q, 0.1))
    ).sum(-1),
    "todi": lean_todi,
    "total_variation": lambda log_q, log_p: 0.5 * (log_p.exp() - log_q.exp()).abs().sum(-1),
}
"""Each divergence as one expression over the log-softmax of both sides: no masks, no copies. That
is what a careful user would write without this package, and what torch.compile can fuse."""


def log_probabilities(logits: Tensor) -> Tensor:
    return F.log_softmax(logits, dim=-1, dtype=torch.float32)


def lean_plain(function: Lean, student: Tensor, teacher: Tensor) -> Tensor:
    return function(log_probabilities(student), log_probabilities(teacher)).mean()


def lean_adakd(function: Lean, student: Tensor, teacher: Tensor) -> Tensor:
    """All tokens kept, each at a temperature of its own, which carries no gradient."""
    tau = lean_temperatures(student, teacher)
    column = tau.unsqueeze(-1)
    sides = (log_probabilities(side.float() / column) for side in (student, teacher))
    return (function(*sides) * tau.square()).mean()


@torch.no_grad()
def lean_temperatures(student: Tensor, teacher: Tensor) -> Tensor:
    log_q, log_p = log_probabilities(student), log_probabilities(teacher)
    score = ((log_p / 2).exp() - (log_q / 2).exp()).square().sum(-1).div(2).sqrt()
    return (-0.5 * (score / score.median()).clamp(min=1e-8).log().tanh()).exp()
