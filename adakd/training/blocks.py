"""Scores, losses and gradients from logits, a few rows at a time so that they stay in the cache.

What a block needs in float32 is made for the block alone: whatever the batch, no tensor of
[tokens, vocabulary] is held beside the logits themselves and their gradient.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from adakd.adaptive import Adaptive
from adakd.divergences import Divergence, Pair
from adakd.divergences.slope import differentiate

FLOOR = -1e9
"""Least log-probability that a divergence sees: e to its power is 0, and 0 times it is not NaN."""
CACHED_BYTES = 640 * 1024
"""Size of one tensor of a block on a CPU: the few that are in use at a time share a core's second
cache of 1 to 2 MiB. Cost is flat between half and twice of it; with 16 times of it, 1.3 times."""
DEVICE_BYTES = 64 * 1024**2
"""The same on an accelerator, where a block has to outlast the launch of its kernels."""

Term = Callable[[Pair, Tensor, bool], tuple[Tensor, Tensor | None]]
"""The loss of single tokens. Takes a block, its labels and whether a gradient is wanted; returns
the values, ``(B,)``, and their derivative by the student's log-probabilities, ``(B, V)``."""


@dataclass(frozen=True)
class Finish:
    r"""What a model does to the output of its head: :math:`z = c \tanh (a\, x / c)`."""

    scale: float = 1.0
    """:math:`a`, as Cohere and Granite have one."""
    softcap: float | None = None
    """:math:`c`, as Gemma 2 and 3 may have one; None is no bound."""

    def __bool__(self) -> bool:
        """Tell whether it changes anything."""
        return self != Finish()

    def __call__(self, raw: Tensor) -> Tensor:
        """Return the finished logits."""
        scaled = raw * self.scale
        return scaled if self.softcap is None else (scaled / self.softcap).tanh_() * self.softcap

    def chain_(self, gradient: Tensor, finished: Tensor) -> None:
        """Turn a gradient by the finished logits into one by the raw ones, in place."""
        gradient.mul_(self.scale)
        if self.softcap is not None:
            gradient.addcmul_(gradient, (finished / self.softcap).square_(), value=-1)


PLAIN = Finish()
"""Nothing at all."""


@dataclass(frozen=True)
class Rows:
    """Rows of a tensor of logits."""

    logits: Tensor
    index: Tensor | None = None
    """Which rows, ascending; None for all."""
    finish: Finish = PLAIN

    def block(self, at: slice, dtype: torch.dtype) -> Tensor:
        """Return the finished logits of some of these rows; a view where it can be one."""
        raw = self.logits[at] if self.index is None else self.logits.index_select(0, self.index[at])
        return self.finish(raw.to(dtype)) if self.finish else raw

    def write(self, at: slice, values: Tensor, factor: Tensor) -> None:
        """Replace some of these rows by `values`, each multiplied by its factor."""
        factor = factor[at].unsqueeze(-1)
        if self.index is None:
            torch.mul(values, factor, out=self.logits[at])
        else:
            self.logits.index_copy_(0, self.index[at], (values * factor).to(self.logits.dtype))


def divergence_term(divergence: Divergence) -> Term:
    """Return the loss of a token under `divergence`; labels play no part."""

    def term(pair: Pair, labels: Tensor, graded: bool) -> tuple[Tensor, Tensor | None]:
        if graded:
            return differentiate(divergence, pair)
        return divergence(pair.log_q, pair.log_p), None

    return term


def cross_entropy(pair: Pair, labels: Tensor, graded: bool) -> tuple[Tensor, Tensor | None]:
    r"""Return :math:`-\log q_y`, and its derivative: -1 at the label, 0 elsewhere."""
    index = labels.unsqueeze(-1)
    values = -pair.log_q.gather(-1, index).squeeze(-1)
    return values, torch.zeros_like(pair.log_q).scatter_(-1, index, -1.0) if graded else None


def score_rows(adaptive: Adaptive, student: Rows, teacher: Rows, labels: Tensor) -> Tensor:
    """Return an adaptive method's scores of all rows, at temperature 1."""
    dtype = working_dtype(student.logits.dtype, teacher.logits.dtype)
    scores = []
    for at in _blocks(len(labels), student.logits, dtype):
        log_q, _ = _log_softmax(student.block(at, dtype), dtype)
        log_p, _ = _log_softmax(teacher.block(at, dtype), dtype)
        scores.append(adaptive.score(log_q, log_p, labels[at]))
    return torch.cat(scores)


@dataclass(frozen=True)
class Kept:
    """The tokens that a loss is taken over, K of them."""

    student: Rows
    teacher: Rows | None
    """None where the loss needs none."""
    labels: Tensor
    temperature: Tensor | None
    """Of each token, ``(K,)``; None is 1 for all."""
    factor: Tensor
    """What the gradient of each token is multiplied by, ``(K,)``."""


def loss_rows(term: Term, kept: Kept, gradient: Rows | None) -> Tensor:
    r"""Return the value of every kept token, ``(K,)``, and write its gradient.

    With :math:`g = \partial D / \partial \log q` and the factor :math:`f` the gradient by the
    student's logits is :math:`f\, (g_v - q_v \sum_u g_u) / \tau`.

    Args:
        term: the loss of a token.
        kept: the tokens.
        gradient: the K rows to write to, which may be the student's own; None for no gradient.
    """
    student, teacher, factor, values = kept.student, kept.teacher, kept.factor, []
    if kept.temperature is not None:
        factor = factor / kept.temperature
    dtype = working_dtype(student.logits.dtype, (teacher or student).logits.dtype)
    for at in _blocks(len(kept.labels), student.logits, dtype):
        tau = None if kept.temperature is None else kept.temperature[at].unsqueeze(-1)
        logits = student.block(at, dtype)
        log_q, ruled_out = _log_softmax(logits, dtype, tau)
        log_p = log_q
        if teacher is not None:
            log_p, _ = _log_softmax(teacher.block(at, dtype), dtype, tau)
        pair = Pair(log_q, log_p)
        value, slope = term(pair, kept.labels[at], gradient is not None)
        values.append(value)
        if gradient is None or slope is None:
            continue
        if ruled_out:
            slope = slope.masked_fill(log_q <= FLOOR, 0)
        by_logits = slope.addcmul(pair.q, slope.sum(-1, keepdim=True), value=-1)
        if student.finish:
            student.finish.chain_(by_logits, logits)
        gradient.write(at, by_logits, factor)
    return torch.cat(values)


def working_dtype(*logits: torch.dtype) -> torch.dtype:
    """Return the precision of log-probabilities: float32, or float64 for float64 logits."""
    return torch.float64 if torch.float64 in logits else torch.float32


def _blocks(rows: int, logits: Tensor, dtype: torch.dtype) -> Iterator[slice]:
    size = CACHED_BYTES if logits.device.type == "cpu" else DEVICE_BYTES
    step = max(1, size // (logits.shape[-1] * dtype.itemsize))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _log_softmax(
    logits: Tensor, dtype: torch.dtype, temperature: Tensor | None = None
) -> tuple[Tensor, bool]:
    """Return finite log-probabilities, and whether there were others."""
    if temperature is not None:
        logits = logits / temperature
    log_probabilities = logits.log_softmax(-1, dtype=dtype)
    # Words that a model rules out have logit -inf: rare, so look before touching anything.
    ruled_out = bool(log_probabilities.amin() < FLOOR)
    return log_probabilities.clamp_min_(FLOOR) if ruled_out else log_probabilities, ruled_out
