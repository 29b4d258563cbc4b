"""Which code computes the rows: a Triton kernel on a GPU that has one, blocks for all else.

No kernel is trusted unseen: the first rows of each kind of call are computed by blocks as well.
"""

import logging
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from adakd.adaptive import Adaptive
from adakd.adaptive.adakd import AdaKD
from adakd.adaptive.indicators import hellinger
from adakd.divergences.base import declared_entry_form
from adakd.losses import blocks
from adakd.losses.blocks import DEVICE_BYTES, DivergenceTerm, LogitRows, SelectedTokens, Term

_log = logging.getLogger(__name__)

DEVICES = {"cuda", "xpu"}
"""Where kernels are used, if Triton is installed. With "cpu" among them Triton's interpreter runs
them without a GPU, if ``TRITON_INTERPRET=1`` was set when Triton was imported."""
DTYPES = {torch.float32, torch.float16, torch.bfloat16}
SAMPLE = 8
"""Rows that are computed twice."""
TOLERANCE, SLACK = 1e-2, 1e-4
"""Difference of a row, as a share of it and for a row near 0: above what 16 bit round away."""

Computed = tuple[Tensor, ...]
"""Of K rows: the values, ``(K,)`` and, where there is one, the gradient, ``(K, V)``."""

_agreed: dict[Hashable, bool] = {}


def score_rows(
    adaptive: Adaptive, student: LogitRows, teacher: LogitRows, labels: Tensor
) -> Tensor:
    """Return an adaptive method's scores of all rows, at temperature 1."""
    by_blocks = partial(blocks.score_rows, adaptive)
    if not _is_hellinger(adaptive) or not _usable(student, teacher):
        return by_blocks(student, teacher, labels)
    from adakd.losses.triton_kernels import HELLINGER, reduce_rows

    def by_kernel(student: LogitRows, teacher: LogitRows, labels: Tensor) -> Tensor:
        return (reduce_rows(HELLINGER, student, teacher) / 2).sqrt()

    def sample(compute: Callable[[LogitRows, LogitRows, Tensor], Tensor]) -> Computed:
        first = slice(SAMPLE)
        return (compute(_part(student, first), _part(teacher, first), labels[first]),)

    kind = "Hellinger scores", *_kind(student, teacher)
    same = _agree(kind, sample, by_kernel, by_blocks)
    return (by_kernel if same else by_blocks)(student, teacher, labels)


def loss_rows(term: Term, tokens: SelectedTokens, gradient: LogitRows | None) -> Tensor:
    """Return the value of every kept token, ``(K,)``, and write its gradient.

    Args:
        term: the loss of a token.
        tokens: the tokens.
        gradient: the K rows to write to, which may be the student's own; None for no gradient.
    """
    by_blocks = partial(blocks.loss_rows, term)
    if not isinstance(term, DivergenceTerm) or tokens.teacher is None:
        return by_blocks(tokens, gradient)
    declared = declared_entry_form(term.divergence)
    rows = [part for part in (tokens.student, tokens.teacher, gradient) if part is not None]
    if declared is None or not _usable(*rows):
        return by_blocks(tokens, gradient)
    from adakd.losses.triton_kernels import Form, reduce_rows

    form = Form(*declared)

    def by_kernel(tokens: SelectedTokens, gradient: LogitRows | None) -> Tensor:
        theirs = tokens.teacher or tokens.student
        return reduce_rows(
            form, tokens.student, theirs, tokens.temperature, tokens.factor, gradient
        )

    def sample(compute: Callable[[SelectedTokens, LogitRows | None], Tensor]) -> Computed:
        first = _tokens(tokens, slice(SAMPLE))
        first = replace(first, factor=torch.ones_like(first.factor))
        if gradient is None:
            return (compute(first, None),)
        logits = gradient.logits
        out = logits.new_zeros(len(first.labels), logits.shape[-1])
        return compute(first, LogitRows(out)), out

    name, tempered, graded = _name(term.divergence), tokens.temperature is not None, len(rows) == 3
    kind = f"the divergence {name}", form, tempered, graded, *_kind(*rows)
    if not _agree(kind, sample, by_kernel, by_blocks):
        return by_blocks(tokens, gradient)
    if gradient is None or not _moves(tokens.student, gradient):
        return by_kernel(tokens, gradient)
    # A kernel takes all rows at once: none may be written that another has yet to read.
    values = []
    for at in _pieces(len(tokens.labels), gradient):
        piece = _tokens(tokens, at)
        values.append(by_kernel(replace(piece, student=_copy(piece.student)), _part(gradient, at)))
    return torch.cat(values)


def _is_hellinger(adaptive: Adaptive) -> bool:
    if not isinstance(adaptive, AdaKD) or type(adaptive).score is not AdaKD.score:
        return False
    return adaptive.indicator is hellinger


def _name(divergence: Any) -> str:
    return getattr(getattr(divergence, "func", divergence), "__name__", "without a name")


def _usable(*rows: LogitRows) -> bool:
    """Return whether a kernel can take these."""
    logits = [part.logits for part in rows]
    return (
        len({given.device for given in logits}) == 1
        and logits[0].device.type in DEVICES
        and all(given.dtype in DTYPES and given.stride(1) == 1 for given in logits)
        and _importable()
    )


@cache
def _importable() -> bool:
    """Return whether there are kernels at all."""
    if find_spec("triton") is None:
        return False
    try:
        import_module("adakd.losses.triton_kernels")
    except Exception as error:  # whatever a Triton that was made for another machine may raise
        _log.warning("Triton kernels are not used: %s: %s", type(error).__name__, error)
        return False
    return True


def _kind(*rows: LogitRows) -> tuple[Hashable, ...]:
    """Return what a kernel is made for."""
    return tuple(
        (
            part.logits.shape[1],
            part.logits.dtype,
            part.logits.device,
            part.index is None,
            part.scaling,
        )
        for part in rows
    )


def _agree(
    kind: tuple[Hashable, ...],
    sample: Callable[[Any], Computed],
    by_kernel: Any,
    by_blocks: Any,
) -> bool:
    """Return whether a kernel gives what blocks give, as far as the first rows of its kind tell."""
    if kind not in _agreed:
        try:
            _agreed[kind] = all(map(_close, sample(by_kernel), sample(by_blocks)))
            reason = "their numbers differ from those of the slower path"
        except Exception as error:  # whatever a compiler or a driver may raise
            _agreed[kind], reason = False, f"{type(error).__name__}: {error}"
        if not _agreed[kind]:
            _log.warning("Triton kernels are not used for %s: %s", kind[0], reason)
    return _agreed[kind]


def _close(got: Tensor, wanted: Tensor) -> bool:
    """Return whether rows agree up to rounding; those that are not finite have nothing to say."""
    got, wanted = (part.double().reshape(len(part), -1) for part in (got, wanted))
    apart, size = (got - wanted).norm(dim=1), wanted.norm(dim=1)
    return bool((apart <= TOLERANCE * size + SLACK)[size.isfinite()].all())


def _moves(student: LogitRows, gradient: LogitRows) -> bool:
    """Return whether a gradient replaces logits of other rows than its own."""
    same = (
        student.logits.untyped_storage().data_ptr() == gradient.logits.untyped_storage().data_ptr()
    )
    return same and student.index is not gradient.index


def _pieces(rows: int, gradient: LogitRows) -> Iterator[slice]:
    step = max(1, DEVICE_BYTES // (gradient.logits.shape[1] * gradient.logits.itemsize))
    for start in range(0, rows, step):
        yield slice(start, start + step)


def _part(rows: LogitRows, at: slice) -> LogitRows:
    if rows.index is None:
        return replace(rows, logits=rows.logits[at])
    return replace(rows, index=rows.index[at])


def _copy(rows: LogitRows) -> LogitRows:
    if rows.index is None:
        return replace(rows, logits=rows.logits.clone())
    return replace(rows, logits=rows.logits.index_select(0, rows.index), index=None)


def _tokens(tokens: SelectedTokens, at: slice) -> SelectedTokens:
    return SelectedTokens(
        student=_part(tokens.student, at),
        teacher=None if tokens.teacher is None else _part(tokens.teacher, at),
        labels=tokens.labels[at],
        temperature=None if tokens.temperature is None else tokens.temperature[at],
        factor=tokens.factor[at],
    )
