"""Scores, losses and gradients from logits, in blocks of rows that fit in the cache.

Intermediate float32 tensors exist for one block at a time: whatever the batch size, the only
[tokens, vocabulary] tensors in memory are the logits themselves and their gradient.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from adakd.adaptive import Adaptive
from adakd.divergences import Divergence, Pair
from adakd.divergences.autograd import differentiate

CACHED_BYTES = 1024**2
"""Size of one tensor of a block on a CPU, so that the few in use at a time stay in the L2 or L3
cache. Cost is flat from half to twice this size: below it, call overhead dominates; far above it,
memory traffic does."""
DEVICE_BYTES = 64 * 1024**2
"""The same on an accelerator, where a block must take longer than launching its kernels."""

Term = Callable[[Pair, Tensor, bool], tuple[Tensor, Tensor | None]]
"""A loss per token: takes a block, its labels and whether a gradient is needed; returns the values
``(B,)`` and their derivative with respect to the student's logits ``(B, V)``."""


@dataclass(frozen=True)
class LogitScaling:
    r"""Scaling and soft cap of a model's logits: :math:`z = c \tanh (a\, x / c)`."""

    scale: float = 1.0
    """:math:`a`, used by Cohere and Granite models."""
    softcap: float | None = None
    """:math:`c`, used by Gemma 2 and 3 models; None for no cap."""

    def __bool__(self) -> bool:
        """Return whether it changes the logits."""
        return self != LogitScaling()

    def __call__(self, raw: Tensor) -> Tensor:
        """Return the scaled and capped logits."""
        scaled = raw * self.scale
        return scaled if self.softcap is None else (scaled / self.softcap).tanh_() * self.softcap

    def chain(self, gradient: Tensor, scaled: Tensor) -> Tensor:
        """Turn the gradient with respect to the scaled logits into that of the raw ones."""
        if self.softcap is not None:
            gradient = gradient.addcmul(gradient, (scaled / self.softcap).square_(), value=-1)
        return gradient * self.scale


UNSCALED = LogitScaling()
"""No scaling and no cap."""


class Rows(Protocol):
    """Rows of logits, or of their gradient, that are read or written a block at a time."""

    @property
    def entries(self) -> int:
        """Entries that a row is computed from: how many rows are a block."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the logits."""
        ...

    @property
    def device(self) -> torch.device:
        """Where they are computed."""
        ...

    @property
    def scaling(self) -> LogitScaling:
        """What :meth:`block` has applied to the logits."""
        ...

    def block(self, at: slice, dtype: torch.dtype) -> Tensor:
        """Return the scaled logits of some of these rows, as a view where possible."""
        ...

    def write(self, at: slice, values: Tensor, factor: Tensor) -> None:
        """Overwrite some of these rows with `values`, each multiplied by its factor."""
        ...

    def whole(self) -> "LogitRows":
        """Return all of them as rows of a tensor, as kernels read and write them."""
        ...


@dataclass(frozen=True)
class LogitRows:
    """Rows of a tensor of logits."""

    logits: Tensor
    index: Tensor | None = None
    """Indices of the rows, ascending; None for all."""
    scaling: LogitScaling = UNSCALED

    @property
    def entries(self) -> int:
        """Entries of the vocabulary."""
        return self.logits.shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the logits."""
        return self.logits.dtype

    @property
    def device(self) -> torch.device:
        """The device of the logits."""
        return self.logits.device

    def whole(self) -> "LogitRows":
        """Return these rows."""
        return self

    def block(self, at: slice, dtype: torch.dtype) -> Tensor:
        """Return the scaled logits of some of these rows, as a view where possible."""
        raw = self.logits[at] if self.index is None else self.logits.index_select(0, self.index[at])
        raw = raw.to(dtype)
        return self.scaling(raw) if self.scaling else raw

    def write(self, at: slice, values: Tensor, factor: Tensor) -> None:
        """Overwrite some of these rows with `values`, each multiplied by its factor."""
        factor = factor[at].unsqueeze(-1)
        if self.index is None:
            torch.mul(values, factor, out=self.logits[at])
        else:
            self.logits.index_copy_(0, self.index[at], (values * factor).to(self.logits.dtype))


@dataclass(frozen=True)
class DivergenceTerm:
    """Loss per token under a divergence; labels are ignored."""

    divergence: Divergence

    def __call__(self, pair: Pair, labels: Tensor, graded: bool) -> tuple[Tensor, Tensor | None]:
        """Return the values of a block and their derivative by the student's logits."""
        if graded:
            return differentiate(self.divergence, pair)
        return self.divergence(pair.log_q, pair.log_p), None


def cross_entropy(pair: Pair, labels: Tensor, graded: bool) -> tuple[Tensor, Tensor | None]:
    r"""Return :math:`-\log q_y` and its derivative, q minus 1 at the label."""
    index = labels.unsqueeze(-1)
    gradient = pair.q.scatter_add(-1, index, torch.full_like(pair.q[:, :1], -1)) if graded else None
    return -pair.log_q.gather(-1, index).squeeze(-1), gradient


def score_rows(adaptive: Adaptive, student: Rows, teacher: Rows, labels: Tensor) -> Tensor:
    """Return an adaptive method's scores of all rows, at temperature 1."""
    dtype = working_dtype(student.dtype, teacher.dtype)
    scores = []
    for at in row_blocks(len(labels), student, dtype):
        pair = Pair(student.block(at, dtype), teacher.block(at, dtype))
        scores.append(adaptive.score(pair.log_q, pair.log_p, labels[at]))
    return torch.cat(scores)


@dataclass(frozen=True)
class SelectedTokens:
    """The K tokens that a loss averages over."""

    student: Rows
    teacher: Rows | None
    """None for a loss without a teacher."""
    labels: Tensor
    temperature: Tensor | None
    """Temperature of each token, ``(K,)``; None for 1 everywhere."""
    factor: Tensor
    """Factor of each token's gradient, ``(K,)``."""


def loss_rows(term: Term, tokens: SelectedTokens, gradient: Rows | None) -> Tensor:
    r"""Return the value of every selected token, ``(K,)``, and write its gradient.

    With the factor :math:`f`, the gradient with respect to the student's logits is :math:`f / \tau`
    times the gradient with respect to the tempered logits.

    Args:
        term: the loss of a token.
        tokens: the selected tokens.
        gradient: the K rows to write to, possibly the student's own; None for no gradient.
    """
    student, teacher, factor, values = tokens.student, tokens.teacher, tokens.factor, []
    if tokens.temperature is not None:
        factor = factor / tokens.temperature
    dtype = working_dtype(student.dtype, (teacher or student).dtype)
    for at in row_blocks(len(tokens.labels), student, dtype):
        tau = None if tokens.temperature is None else tokens.temperature[at].unsqueeze(-1)
        logits = ours = student.block(at, dtype)
        theirs = ours if teacher is None else teacher.block(at, dtype)
        if tau is not None:
            ours, theirs = ours / tau, theirs / tau
        value, by_logits = term(Pair(ours, theirs), tokens.labels[at], gradient is not None)
        values.append(value)
        if gradient is not None and by_logits is not None:
            if student.scaling:
                by_logits = student.scaling.chain(by_logits, logits)
            gradient.write(at, by_logits, factor)
    return torch.cat(values)


def scale(gradient: Tensor, factor: Tensor) -> None:
    """Multiply a gradient by a scalar, in place."""
    # On a GPU reading the value costs more than multiplying.
    if factor.device.type != "cpu" or float(factor) != 1:
        gradient.mul_(factor)


@dataclass(frozen=True)
class RowFunctions:
    """The computations of a loss over whole rows, by one kind of kernels."""

    score_rows: Callable[[Adaptive, Rows, Rows, Tensor], Tensor]
    loss_rows: Callable[[Term, SelectedTokens, Rows | None], Tensor]
    scale: Callable[[Tensor, Tensor], None]


TORCH = RowFunctions(score_rows, loss_rows, scale)
"""Ordinary PyTorch operations on blocks of rows: the default on a CPU."""


def working_dtype(*logits: torch.dtype) -> torch.dtype:
    """Return the precision of the log-probabilities: float64 for float64 logits, else float32."""
    return torch.float64 if torch.float64 in logits else torch.float32


def row_blocks(rows: int, like: Rows, dtype: torch.dtype) -> Iterator[slice]:
    """Cut rows of logits into blocks that fit in the cache at the working precision."""
    size = CACHED_BYTES if like.device.type == "cpu" else DEVICE_BYTES
    step = max(1, size // (like.entries * dtype.itemsize))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
