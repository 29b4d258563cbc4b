"""Outputs of two models with different tokenizers -> rows over a bridge's units.

A direct bridge picks rows and entries: hidden states stay hidden states, with a smaller LM head.
Any other computes its rows from the logits of the units' tokens, and its gradient goes back the
same way. As without a bridge there are two levels: both models' logits come in groups, to keep the
products with the LM heads large; rows and their gradient come a block of units at a time, to stay
in the cache. Nothing else of a batch has the width of a vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from adakd.bridges import Bridge, Side
from adakd.divergences.pair import FLOOR
from adakd.losses.blocks import UNSCALED, LogitRows, Rows, row_blocks, working_dtype
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
LARGER = 4
"""How much larger a bridge's blocks are than those of a loss: it makes more calls for each."""


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
    groups = _Groups(bridge, logit_source(student, None), logit_source(teacher, None), units)
    shape = torch.Size([len(units.spans), student.shape[-1]])
    return (
        SourcedRows(_StudentRows(groups), shape, partial(groups.tokens_of, 0)),
        SourcedRows(_TeacherRows(groups), shape, partial(groups.tokens_of, 1)),
    )


def unit_rows(
    bridge: Bridge, student: Response, teacher: Response, units: Units
) -> tuple[Tensor, Tensor]:
    """Return a bridge's rows of all units at once, ``(M, K)`` each, without a graph."""
    groups = _Groups(bridge, logit_source(student, None), logit_source(teacher, None), units)
    block = groups.group(None).block(slice(None))
    return block.student, block.teacher


def shared_mass(
    bridge: Bridge, student: Response, teacher: Response, units: Units
) -> tuple[Tensor, Tensor]:
    """Return the mass of both models' distributions that a bridge compares, a unit each, ``(M,)``.

    The rest of 1 is on entries that the other side lacks.
    """
    groups = _Groups(bridge, logit_source(student, None), logit_source(teacher, None), units)
    masses = []
    with torch.no_grad(), torch.autocast(units.spans.device.type, enabled=False):
        for start in range(0, len(units.spans), GROUP):
            stop = min(start + GROUP, len(units.spans))
            group = groups.group(torch.arange(start, stop, device=units.spans.device))
            for at in group.blocks():
                block = group.block(at)
                masses.append(
                    torch.stack([block.student.exp().sum(-1), block.teacher.exp().sum(-1)])
                )
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


class _Tokens:
    """One model's tokens of some units, and their logits.

    Args:
        source: the model's logits.
        ids: the tokens that all of its rows predict.
        starts: rows of the first token of each unit, ``(M,)``.
        ends: those after the last.
    """

    def __init__(self, source: LogitSource, ids: Tensor, starts: Tensor, ends: Tensor) -> None:
        self.rows, self._unit = _tokens(starts, ends)
        self.logits, self._ids = source.rows(self.rows), ids[self.rows]
        after = (ends - starts).cumsum(0)
        self._first, self._last = after - (ends - starts), after - 1
        self._bounds = [0, *after.tolist()]

    def at(self, units: slice) -> slice:
        """Return the places of the tokens of some units."""
        return slice(self._bounds[units.start], self._bounds[units.stop])

    def side(self, units: slice, dtype: torch.dtype, graded: bool) -> Side:
        """Return some units as a bridge sees them; their logits are a leaf."""
        at = self.at(units)
        logits = self.logits.block(at, dtype).detach().requires_grad_(graded)
        first, last = (of[units] - at.start for of in (self._first, self._last))
        return Side(logits, self._ids[at], self._unit[at] - units.start, first, last)


@dataclass(frozen=True)
class _Block:
    """The rows of a few units."""

    units: slice
    student: Tensor
    """``(B, K)``, at least FLOOR; with a graph to `leaf` or without."""
    teacher: Tensor
    leaf: Tensor
    """The student's logits of their tokens, ``(n, V)``."""


class _Group:
    """Some units: both models' logits of their tokens, and the rows, a block at a time."""

    def __init__(self, groups: "_Groups", index: Tensor | None) -> None:
        self._groups, spans = groups, groups.units.spans
        spans = spans if index is None else spans[index]
        self.count, ids = len(spans), (groups.units.student_ids, groups.units.teacher_ids)
        self.student = _Tokens(groups.student, ids[0], spans[:, 0], spans[:, 1])
        self.teacher: _Tokens | None = _Tokens(groups.teacher, ids[1], spans[:, 2], spans[:, 3])
        self._last: _Block | None = None
        self._all: tuple[Tensor, Tensor] | None = None
        self.kept: list[_Block] = []
        """All blocks, where :meth:`whole` has computed them."""

    def blocks(self) -> Iterator[slice]:
        """Return the blocks that these units are cut into."""
        return row_blocks(self.count, _View(self._groups, None, 0), self._groups.dtype)

    def block(self, units: slice) -> _Block:
        """Return some rows, once for both models."""
        units, graded = slice(*units.indices(self.count)[:2]), self._groups.graded
        last = self._last
        if last is None or last.units != units or last.leaf.requires_grad != graded:
            assert self.teacher is not None
            ours = self.student.side(units, self._groups.dtype, graded)
            theirs = self.teacher.side(units, self._groups.dtype, False)
            with torch.set_grad_enabled(graded):
                rows = self._groups.bridge.rows(ours, theirs)
                student, teacher = (of.clamp_min(FLOOR) for of in rows)
            self._last = last = _Block(units, student, teacher.detach(), ours.logits)
        return last

    def whole(self) -> tuple[Tensor, Tensor]:
        """Return all rows of both models; the graphs of their blocks are kept."""
        ungraded = any(not block.leaf.requires_grad for block in self.kept)
        if self._all is None or (self._groups.graded and ungraded):
            self.kept = [self.block(units) for units in self.blocks()]
            ours = torch.cat([block.student.detach() for block in self.kept])
            self._all = ours, torch.cat([block.teacher for block in self.kept])
        return self._all

    def pull(self, block: _Block, by_rows: Tensor) -> Tensor:
        """Return the gradient by the student's logits, before their scaling, ``(n, V)``."""
        (by_logits,) = torch.autograd.grad(block.student, block.leaf, by_rows)
        self._last = None
        return self.student.logits.scaling.chain(by_logits, block.leaf.detach())


class _Groups:
    """Both models' logits over units, of one group at a time."""

    def __init__(
        self, bridge: Bridge, student: LogitSource, teacher: LogitSource, units: Units
    ) -> None:
        self.bridge, self.student, self.teacher, self.units = bridge, student, teacher, units
        self.dtype = working_dtype(student.dtype, teacher.dtype)
        self.graded = False
        """Whether rows have a graph: a gradient has been asked for."""
        self._last: tuple[Tensor | None, _Group] | None = None
        none, count = units.spans.new_zeros(0), max(1, len(units.spans))
        lengths = (units.spans[:, 1::2] - units.spans[:, ::2]).sum(0) / count
        self._tokens = lengths.tolist()
        """Mean tokens of a unit, of the student and of the teacher."""
        self._widths = [source.rows(none).entries for source in (student, teacher)]

    @property
    def entries(self) -> int:
        """Entries that count for a unit, of those in the model that has more to compute it from."""
        sides = zip(self._tokens, self._widths, strict=True)
        return max(1, *(int(tokens * width / LARGER) for tokens, width in sides))

    def row_bytes(self, side: int) -> int:
        """Return the bytes that a unit takes; on an accelerator with whole rows in float32."""
        source, width = (self.student, self.teacher)[side], self._widths[side]
        copies = 0 if self.units.spans.device.type == "cpu" else 8 * width
        return max(1, int(self._tokens[side] * (source.row_bytes + copies)))

    def tokens_of(self, side: int, index: Tensor) -> Tensor:
        """Return the tokens of the units at `index`: the student's or the teacher's."""
        spans = self.units.spans[index]
        return _tokens(spans[:, 2 * side], spans[:, 2 * side + 1])[0]

    def group(self, index: Tensor | None) -> _Group:
        """Return the units at `index`, once for both models."""
        if self._last is None or self._last[0] is not index or self._last[1].teacher is None:
            self._last = None  # before its successor takes as much memory
            self._last = index, _Group(self, index)
        return self._last[1]

    def release_teacher(self) -> None:
        """Free the teacher's logits, of which all rows are computed."""
        self.teacher.release()
        if self._last is not None:
            self._last[1].teacher = None

    def forget(self) -> None:
        """Free the group."""
        self._last = None


class _View:
    """One model's rows of a group."""

    scaling = UNSCALED

    def __init__(self, groups: _Groups, index: Tensor | None, side: int) -> None:
        self._groups, self._index, self._side = groups, index, side
        self.entries, self.dtype = groups.entries, groups.dtype
        self.device = groups.units.spans.device

    def block(self, at: slice, dtype: torch.dtype) -> Tensor:
        """Return some rows without their graph."""
        block = self._groups.group(self._index).block(at)
        return (block.teacher if self._side else block.student.detach()).to(dtype)

    def write(self, at: slice, values: Tensor, factor: Tensor) -> None:
        """Refuse: the gradient has rows of its own."""
        raise NotImplementedError

    def whole(self) -> LogitRows:
        """Return all rows."""
        return LogitRows(self._groups.group(self._index).whole()[self._side])


class _GradientView(_View):
    """The gradient by the student's rows of a group, led back through the bridge when written."""

    def __init__(self, groups: _Groups, index: Tensor | None, out: Rows) -> None:
        super().__init__(groups, index, 0)
        self.group, self._out = groups.group(index), out
        self._written: Tensor | None = None

    def write(self, at: slice, values: Tensor, factor: Tensor) -> None:
        """Lead the gradient by some rows back."""
        self._lead_back(self.group.block(at), values * factor[at].unsqueeze(-1))

    def whole(self) -> LogitRows:
        """Return rows to write to, for :meth:`finish`."""
        if self._written is None:
            self._written = torch.empty_like(self.group.whole()[0])
        return LogitRows(self._written)

    def finish(self) -> None:
        """Lead back what was written to whole rows."""
        if self._written is not None:
            for block in self.group.kept:
                self._lead_back(block, self._written[block.units])

    def _lead_back(self, block: _Block, by_rows: Tensor) -> None:
        by_logits = self.group.pull(block, by_rows)
        ones = by_logits.new_ones(self.group.student.at(slice(0, self.group.count)).stop)
        self._out.write(self.group.student.at(block.units), by_logits, ones)


class _StudentRows:
    """The student's rows over units, as a source of logits."""

    def __init__(self, groups: _Groups) -> None:
        self._groups, self.inputs, self.dtype = groups, groups.student.inputs, groups.student.dtype
        self.row_bytes = groups.row_bytes(0)

    def hold(self) -> None:
        """Keep the logits of all tokens: rows are computed from them again."""
        self._groups.student.hold()

    def release(self) -> None:
        """Free what is held."""
        self._groups.student.release()
        self._groups.forget()

    def rows(self, index: Tensor | None) -> Rows:
        """Return the rows of the units at `index`."""
        return _View(self._groups, index, 0)

    def gradient(self, needed: tuple[bool, ...], count: int) -> GradientBuffer:
        """Return a buffer whose gradient goes back through the bridge."""
        self._groups.graded = True
        tokens = -1  # of the tokens between units no row is written: zeros
        return _Back(self._groups, self._groups.student.gradient(needed, tokens))


class _TeacherRows:
    """The teacher's rows over units, as a source of logits."""

    inputs: tuple[Tensor | None, ...] = ()

    def __init__(self, groups: _Groups) -> None:
        self._groups, self.dtype = groups, groups.teacher.dtype
        self.row_bytes = groups.row_bytes(1)

    def hold(self) -> None:
        """Keep the logits of all tokens."""
        self._groups.teacher.hold()

    def release(self) -> None:
        """Free them."""
        self._groups.release_teacher()

    def rows(self, index: Tensor | None) -> Rows:
        """Return the rows of the units at `index`."""
        return _View(self._groups, index, 1)

    def gradient(self, needed: tuple[bool, ...], count: int) -> GradientBuffer:
        """Refuse: a teacher is not trained."""
        raise NotImplementedError


class _Back:
    """Takes the gradient by a bridge's rows to that by the student's inputs."""

    def __init__(self, groups: _Groups, inner: GradientBuffer) -> None:
        self._groups, self._inner = groups, inner
        self._view: _GradientView | None = None

    def rows(self, index: Tensor | None, logits: Rows) -> Rows:
        """Return rows whose gradient is led back as they are written."""
        tokens = self._groups.group(index).student
        out = self._inner.rows(tokens.rows, tokens.logits)
        self._view = _GradientView(self._groups, index, out)
        return self._view

    def add(self, index: Tensor | None, count: int, logits: Rows) -> None:
        """Add the gradient of a group."""
        assert self._view is not None
        self._view.finish()
        tokens = self._view.group.student
        self._inner.add(tokens.rows, len(tokens.rows), tokens.logits)
        self._view = None
        self._groups.forget()

    def total(self) -> Gradients:
        """Return the gradient with respect to each of the student's inputs."""
        return self._inner.total()


def _tokens(starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens of units and the unit of each."""
    lengths = ends - starts
    unit = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    before = lengths.cumsum(0) - lengths
    return torch.arange(len(unit), device=unit.device) + (starts - before)[unit], unit
