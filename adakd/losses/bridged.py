"""Outputs of two models with different tokenizers -> rows over a bridge's units.

A direct bridge picks rows and entries: hidden states stay hidden states, with a smaller LM head.
Any other computes its rows a group of units at a time, from the logits of their tokens, and its
gradient goes back the same way: no tensor of a whole batch has the width of a vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adakd.bridges import Bridge, Side
from adakd.divergences.pair import FLOOR
from adakd.losses.blocks import UNSCALED, LogitRows, working_dtype
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.logits import (
    GradientBuffer,
    Gradients,
    LogitSource,
    Outputs,
    SourcedRows,
    logit_source,
)

Response = Tensor | HiddenStates
GROUP = 64
"""Units of a group when the mass of a bridge is measured."""


@dataclass(frozen=True)
class Units:
    """The M units of a batch, on the device of the models."""

    spans: Tensor
    """Rows of the student's first token, after its last, and the same for the teacher, ``(M, 4)``.
    """
    student_ids: Tensor
    """The token that each row of the student's output predicts."""
    teacher_ids: Tensor
    """Likewise for the teacher."""


class TeacherHead:
    """The teacher's LM head for some entries of its vocabulary, made once: it is not trained."""

    def __init__(self) -> None:
        self._of: Tensor | None = None
        self._cut: LMHead | None = None

    def __call__(self, head: LMHead, columns: Tensor) -> LMHead:
        """Return the head for some entries, always the same ones."""
        if self._cut is None or self._of is not head.weight:
            self._of, self._cut = head.weight, cut(head, columns)
        return self._cut


def cut(head: LMHead, columns: Tensor) -> LMHead:
    """Return an LM head for some entries of its vocabulary."""
    bias = None if head.bias is None else head.bias.index_select(0, columns)
    return replace(head, weight=head.weight.index_select(0, columns), bias=bias)


def bridged(
    bridge: Bridge,
    student: Response,
    teacher: Response,
    units: Units,
    teacher_head: Callable[[LMHead, Tensor], LMHead] = cut,
) -> tuple[Outputs, Outputs]:
    """Return both models' outputs over units.

    Args:
        bridge: a connected bridge.
        student: logits or hidden states at its response tokens.
        teacher: likewise.
        units: those of the batch.
        teacher_head: cuts the teacher's LM head to the entries of a direct bridge.
    """
    if bridge.direct:
        ours, theirs = map(units.spans.new_tensor, bridge.columns)
        starts = units.spans[:, 0], units.spans[:, 2]
        return (
            _picked(student, starts[0], ours, cut),
            _picked(teacher, starts[1], theirs, teacher_head),
        )
    rows = _UnitRows(bridge, logit_source(student, None), logit_source(teacher, None), units)
    shape = torch.Size([len(units.spans), student.shape[-1]])
    return (
        SourcedRows(_StudentRows(rows), shape, rows.student_tokens),
        SourcedRows(_TeacherRows(rows), shape, rows.teacher_tokens),
    )


def unit_rows(
    bridge: Bridge, student: Response, teacher: Response, units: Units
) -> tuple[Tensor, Tensor]:
    """Return a bridge's rows of all units at once, ``(M, K)`` each, without a graph."""
    rows = _UnitRows(bridge, logit_source(student, None), logit_source(teacher, None), units)
    group = rows.compute(None, graded=False)
    return group.student, group.teacher


def shared_mass(
    bridge: Bridge, student: Response, teacher: Response, units: Units
) -> tuple[Tensor, Tensor]:
    """Return the mass of both models' distributions that a bridge compares, a unit each, ``(M,)``.

    The rest of 1 is on entries that the other side lacks.
    """
    rows = _UnitRows(bridge, logit_source(student, None), logit_source(teacher, None), units)
    masses = []
    with torch.no_grad(), torch.autocast(units.spans.device.type, enabled=False):
        for start in range(0, len(units.spans), GROUP):
            stop = min(start + GROUP, len(units.spans))
            index = torch.arange(start, stop, device=units.spans.device)
            group = rows.compute(index, graded=False)
            masses.append(torch.stack([group.student.exp().sum(-1), group.teacher.exp().sum(-1)]))
    ours, theirs = torch.cat(masses, -1) if masses else units.spans.new_zeros(2, 0).float()
    return ours, theirs


def _picked(
    given: Response, rows: Tensor, columns: Tensor, cut: Callable[[LMHead, Tensor], LMHead]
) -> Response:
    """Return some rows and entries of a model's output; where all are picked, the output itself."""
    every_row = len(rows) == given.shape[0]  # units are ascending and do not overlap
    every_column = len(columns) == given.shape[-1]
    if isinstance(given, Tensor):
        given = given if every_row else given.index_select(0, rows)
        return given if every_column else given.index_select(1, columns)
    states = given.states if every_row else given.states.index_select(0, rows)
    return replace(
        given, states=states, head=given.head if every_column else cut(given.head, columns)
    )


@dataclass(frozen=True)
class _Group:
    """The rows of some units, and what their gradient goes back through."""

    student: Tensor
    """``(M, K)``, at least FLOOR."""
    teacher: Tensor
    tokens: Tensor
    """Rows of the student's output, ascending, ``(n,)``."""
    given: LogitRows
    """The student's logits of these tokens."""
    leaf: Tensor | None
    """The same, scaled, with the graph to `student`; None without a graph."""

    def pull(self, incoming: Tensor) -> Tensor:
        """Return the gradient by the student's logits, before their scaling, ``(n, V)``."""
        assert self.leaf is not None
        (by_logits,) = torch.autograd.grad(self.student, self.leaf, incoming)
        return self.given.scaling.chain(by_logits, self.leaf.detach())


class _UnitRows:
    """Computes a bridge's rows for groups of units."""

    def __init__(
        self, bridge: Bridge, student: LogitSource, teacher: LogitSource, units: Units
    ) -> None:
        self.bridge, self.student, self.teacher, self.units = bridge, student, teacher, units
        self.last: tuple[Tensor | None, _Group] | None = None
        """The group that was computed last, and its index."""
        self.held: _Group | None = None
        """The rows of all units, without a graph."""

    def student_tokens(self, index: Tensor) -> Tensor:
        """Return the student's tokens of the units at `index`."""
        spans = self.units.spans[index]
        return _tokens(spans[:, 0], spans[:, 1])[0]

    def teacher_tokens(self, index: Tensor) -> Tensor:
        """Return the same for the teacher."""
        spans = self.units.spans[index]
        return _tokens(spans[:, 2], spans[:, 3])[0]

    def row_bytes(self, source: LogitSource, side: int) -> int:
        """Return the bytes that a unit's logits of one model take, with copies in float32."""
        spans, count = self.units.spans, max(1, len(self.units.spans))
        tokens = int((spans[:, side + 1] - spans[:, side]).sum()) / count
        rows = source.rows(torch.zeros(0, dtype=torch.long, device=spans.device))
        return max(1, int(tokens * rows.logits.shape[-1] * (rows.logits.itemsize + 8)))

    def compute(self, index: Tensor | None, graded: bool) -> _Group:
        """Return the rows of the units at `index`, with a graph to the student's logits or not."""
        spans = self.units.spans if index is None else self.units.spans[index]
        dtype = working_dtype(self.student.dtype, self.teacher.dtype)
        tokens, unit = _tokens(spans[:, 0], spans[:, 1])
        given = self.student.rows(tokens)
        leaf = given.block(slice(None), dtype).detach().requires_grad_(graded)
        ours = Side(leaf, self.units.student_ids[tokens], unit, *_ends(spans[:, 0], spans[:, 1]))
        read, unit = _tokens(spans[:, 2], spans[:, 3])
        logits = self.teacher.rows(read).block(slice(None), dtype).detach()
        theirs = Side(logits, self.units.teacher_ids[read], unit, *_ends(spans[:, 2], spans[:, 3]))
        with torch.set_grad_enabled(graded):
            student, teacher = (rows.clamp_min(FLOOR) for rows in self.bridge.rows(ours, theirs))
        return _Group(student, teacher.detach(), tokens, given, leaf if graded else None)

    def rows(self, index: Tensor | None, graded: bool) -> _Group:
        """Return a group, once for both models."""
        if self.last is None or self.last[0] is not index or (graded and self.last[1].leaf is None):
            self.last = index, self.compute(index, graded)
        return self.last[1]


class _StudentRows:
    """The student's rows over units, as a source of logits."""

    def __init__(self, rows: _UnitRows) -> None:
        self._rows, self._graded = rows, False
        self.inputs, self.dtype = rows.student.inputs, rows.student.dtype
        self.row_bytes = rows.row_bytes(rows.student, 0)

    def hold(self) -> None:
        """Compute the rows of all units, of both models, and keep them."""
        self._rows.held = self._rows.compute(None, graded=False)

    def release(self) -> None:
        """Free the rows that are held."""
        self._rows.held = self._rows.last = None

    def rows(self, index: Tensor | None) -> LogitRows:
        """Return the rows of the units at `index`."""
        if self._rows.held is not None:
            return LogitRows(self._rows.held.student, index)
        return LogitRows(self._rows.rows(index, self._graded).student.detach())

    def gradient(self, needed: tuple[bool, ...], count: int) -> GradientBuffer:
        """Return a buffer whose gradient goes back through the bridge."""
        self._graded = True
        tokens = -1  # of the tokens between units no row is written: zeros
        return _Back(self._rows, self._rows.student.gradient(needed, tokens))


class _TeacherRows:
    """The teacher's rows over units, as a source of logits."""

    inputs: tuple[Tensor | None, ...] = ()

    def __init__(self, rows: _UnitRows) -> None:
        self._rows = rows
        self.dtype, self.row_bytes = rows.teacher.dtype, rows.row_bytes(rows.teacher, 2)

    def hold(self) -> None:
        """Do nothing: the student's rows hold both."""

    def release(self) -> None:
        """Do nothing: the next group takes the place of the last."""

    def rows(self, index: Tensor | None) -> LogitRows:
        """Return the rows of the units at `index`."""
        if self._rows.held is not None:
            return LogitRows(self._rows.held.teacher, index)
        return LogitRows(self._rows.rows(index, False).teacher)

    def gradient(self, needed: tuple[bool, ...], count: int) -> GradientBuffer:
        """Refuse: a teacher is not trained."""
        raise NotImplementedError


class _Back:
    """Takes the gradient by a bridge's rows to that by the student's inputs."""

    def __init__(self, rows: _UnitRows, inner: GradientBuffer) -> None:
        self._rows, self._inner = rows, inner
        self._by_rows: Tensor | None = None

    def rows(self, index: Tensor | None, logits: LogitRows) -> LogitRows:
        """Return new rows: those of the units may be held for other groups."""
        whole = logits.logits if logits.index is None else logits.logits[: len(logits.index)]
        self._by_rows = torch.empty_like(whole)
        return LogitRows(self._by_rows)

    def add(self, index: Tensor | None, count: int, logits: LogitRows) -> None:
        """Add the gradient of a group."""
        assert self._by_rows is not None
        with torch.enable_grad():
            group = self._rows.rows(index, graded=True)
        by_logits = group.pull(self._by_rows).to(group.given.logits.dtype)
        given = LogitRows(by_logits, scaling=UNSCALED)
        out = self._inner.rows(group.tokens, given)
        if out.logits is not by_logits:
            out.write(slice(None), by_logits, by_logits.new_ones(len(by_logits)))
        self._inner.add(group.tokens, len(by_logits), given)
        self._rows.last = self._by_rows = None

    def total(self) -> Gradients:
        """Return the gradient with respect to each of the student's inputs."""
        return self._inner.total()


def _tokens(starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens of units and the unit of each."""
    lengths = ends - starts
    unit = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    before = lengths.cumsum(0) - lengths
    return torch.arange(len(unit), device=unit.device) + (starts - before)[unit], unit


def _ends(starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places of the first and of the last token of each unit among those of a group."""
    after = (ends - starts).cumsum(0)
    return after - (ends - starts), after - 1
