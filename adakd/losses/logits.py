"""Sources of logits, and the buffers that collect the gradients of their inputs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from adakd.losses.blocks import LogitRows, Rows
from adakd.losses.lm_head import HiddenStates

Gradients = tuple[Tensor | None, ...]
SLICE = 8192
"""Vocabulary entries per product for the gradient of an LM head's weight."""


class LogitSource(Protocol):
    """The logits of a batch's valid tokens, which are indexed from 0."""

    @property
    def inputs(self) -> tuple[Tensor | None, ...]:
        """Tensors that may require a gradient."""
        ...

    @property
    def row_bytes(self) -> int:
        """Bytes of a token's logits beyond the inputs."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the logits."""
        ...

    def hold(self) -> None:
        """Compute all logits now and keep them, where they are not given."""
        ...

    def release(self) -> None:
        """Free the logits that are held."""
        ...

    def rows(self, index: Tensor | None) -> Rows:
        """Return the logits of the tokens at `index`, ascending; None for all."""
        ...

    def gradient(self, needed: tuple[bool, ...], count: int) -> "GradientBuffer":
        """Return a buffer for the gradient of `count` tokens by the inputs that need one."""
        ...


class GradientBuffer(Protocol):
    """Collects the gradient with respect to the inputs of a source."""

    def rows(self, index: Tensor | None, logits: Rows) -> Rows:
        """Return the rows to write the gradient of the tokens at `index` to, given their logits."""
        ...

    def add(self, index: Tensor | None, count: int, logits: Rows) -> None:
        """Add the gradient that was written to those rows."""
        ...

    def total(self) -> Gradients:
        """Return the gradient with respect to each input."""
        ...


@dataclass(frozen=True)
class SourcedRows:
    """Rows that a source computes, in place of logits or hidden states."""

    source: LogitSource
    shape: torch.Size
    """Number of rows, and at most as many entries as a row needs memory for."""
    parts: Callable[[Tensor], Tensor]
    """Returns the rows of the source's first input that some rows are computed from; each is part
    of one row at most."""


Outputs = Tensor | HiddenStates | SourcedRows
"""A model's part of a loss: logits ``(..., V)``, hidden states with their LM head, or a source."""


class GivenLogits:
    """Given logits.

    Args:
        logits: of shape ``(M, V)``.
        valid: indices of the valid rows, ascending; None for all.
    """

    row_bytes = 0

    def __init__(self, logits: Tensor, valid: Tensor | None) -> None:
        self.inputs, self.dtype = (logits,), logits.dtype
        self.logits, self._valid = logits.detach(), valid

    def hold(self) -> None:
        """Do nothing: the caller holds them."""

    def release(self) -> None:
        """Do nothing: the caller holds them."""

    def at(self, index: Tensor | None) -> Tensor | None:
        """Return the rows of the tokens at `index`."""
        if self._valid is None or index is None:
            return index if self._valid is None else self._valid
        return self._valid[index]

    def rows(self, index: Tensor | None) -> LogitRows:
        """Return the rows unchanged."""
        return LogitRows(self.logits, self.at(index))

    def gradient(self, needed: tuple[bool, ...], count: int) -> "GradientBuffer":
        """Return a buffer that is 0 in the rows of other tokens."""
        return _GivenGradient(self, _zeros(self.logits, count))


class _GivenGradient:
    def __init__(self, source: GivenLogits, total: Tensor) -> None:
        self._source, self._total = source, total

    def rows(self, index: Tensor | None, logits: Rows) -> LogitRows:
        return LogitRows(self._total, self._source.at(index))

    def add(self, index: Tensor | None, count: int, logits: Rows) -> None:
        pass

    def total(self) -> Gradients:
        return (self._total,)


class ProjectedLogits:
    """Logits computed from hidden states, a group of tokens at a time."""

    def __init__(self, hidden: HiddenStates) -> None:
        head = hidden.head
        self.inputs = (hidden.states, head.weight, head.bias)
        self.dtype = dtype = hidden.precision or head.weight.dtype
        self.states, self.weight = hidden.states.detach().to(dtype), head.weight.detach().to(dtype)
        self._bias = None if head.bias is None else head.bias.detach().to(dtype)
        self._scaling = head.scaling
        self._all: Tensor | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in the precision of the head."""
        return len(self.weight) * self.weight.itemsize

    def hold(self) -> None:
        """Compute all logits and keep them."""
        self._all = self._logits(self.states)

    def release(self) -> None:
        """Free the logits that are held."""
        self._all = None

    def rows(self, index: Tensor | None) -> LogitRows:
        """Return the rows, held or computed now."""
        if self._all is not None:
            return LogitRows(self._all, index, self._scaling)
        states = self.states if index is None else self.states[index]
        return LogitRows(self._logits(states), scaling=self._scaling)

    def gradient(self, needed: tuple[bool, ...], count: int) -> "GradientBuffer":
        """Return a buffer whose gradient by the states is 0 for other tokens."""
        return _ProjectedGradient(self, needed, _zeros(self.states, count))

    def _logits(self, states: Tensor) -> Tensor:
        return F.linear(states, self.weight, self._bias)


class _ProjectedGradient:
    """Overwrites logits with their gradient from the first row on, then applies the chain rule.

    Tokens are ascending, so a row is read no later than another token's gradient overwrites it.
    """

    def __init__(self, source: ProjectedLogits, needed: tuple[bool, ...], states: Tensor) -> None:
        self._source, self._needed, self._states = source, needed, states
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None

    def rows(self, index: Tensor | None, logits: Rows) -> LogitRows:
        return LogitRows(logits.whole().logits)

    def add(self, index: Tensor | None, count: int, logits: Rows) -> None:
        by_logits, states = logits.whole().logits[:count], self._source.states
        if self._needed[0]:
            by_states = by_logits @ self._source.weight
            if index is None:
                self._states = by_states
            else:
                self._states.index_copy_(0, index, by_states)
        if self._needed[1]:
            self._add_weight(by_logits, states if index is None else states[index])
        if self._needed[2]:
            part = by_logits.sum(0, dtype=torch.promote_types(self._source.dtype, torch.float32))
            self._bias = part if self._bias is None else self._bias + part

    def _add_weight(self, by_logits: Tensor, states: Tensor) -> None:
        """Add a group's part in float32, as a single product over all groups accumulates."""
        shape, dtype = self._source.weight.shape, torch.promote_types(states.dtype, torch.float32)
        first = self._weight is None
        if self._weight is None:
            self._weight = torch.empty(shape, dtype=dtype, device=states.device)
        for start in range(0, len(self._weight), SLICE):
            part = by_logits[:, start : start + SLICE].T @ states
            whole = self._weight[start : start + SLICE]
            whole.copy_(part) if first else whole.add_(part)

    def total(self) -> Gradients:
        states = self._states if self._needed[0] else None
        totals = (states, self._weight, self._bias)
        return tuple(
            None if part is None or given is None else part.to(given.dtype)
            for part, given in zip(totals, self._source.inputs, strict=True)
        )


def logit_source(
    given: Outputs, valid: Tensor | None, vocabulary: int | None = None
) -> LogitSource:
    """Return the source of a model's logits.

    Args:
        given: logits ``(..., V)``, hidden states with their LM head, or a source.
        valid: indices of the valid rows, ascending; None for all.
        vocabulary: number of leading vocabulary entries to use; None for all V.
    """
    if isinstance(given, SourcedRows):
        return given.source
    if isinstance(given, Tensor):
        return GivenLogits(given.reshape(-1, given.shape[-1])[:, :vocabulary], valid)
    head, states = given.head, given.states.reshape(-1, given.states.shape[-1])
    if vocabulary is not None:
        bias = None if head.bias is None else head.bias[:vocabulary]
        head = replace(head, weight=head.weight[:vocabulary], bias=bias)
    states = states if valid is None else states[valid]
    return ProjectedLogits(replace(given, states=states, head=head))


def token_groups(
    labels: Tensor, index: Tensor | None, row_bytes: int, budget: int
) -> Iterator[tuple[slice, Tensor | None]]:
    """Cut the tokens at `index`, whose labels are given, into groups that fit in `budget`."""
    count = len(labels)
    size = max(1, budget // row_bytes) if row_bytes else count
    if count <= size:
        yield slice(0, count), index
        return
    if index is None:
        index = torch.arange(count, device=labels.device)
    for start in range(0, count, size):
        at = slice(start, min(start + size, count))
        yield at, index[at]


def _zeros(like: Tensor, count: int) -> Tensor:
    """Return zeros like `like`; uninitialised where all `count` rows will be written."""
    return torch.empty_like(like) if count == len(like) else torch.zeros_like(like)
