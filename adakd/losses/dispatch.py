"""Triton kernels for scores and losses, where they can run.

The first rows of each kind of call are computed by :mod:`~adakd.losses.blocks` too. A kernel that
disagrees with them is not used, and neither is one that fails to compile; a warning says so. Parts
without a kernel are computed by blocks, after one warning for each: divergences without an
``entry_form``, scores other than AdaKD's Hellinger distance, and logits in float64.
"""

import logging
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, get_args

import torch
from torch import Tensor

from adakd.adaptive import Adaptive
from adakd.adaptive.adakd import AdaKD
from adakd.adaptive.indicators import hellinger
from adakd.config.students import Kernels
from adakd.divergences.base import declared_entry_form
from adakd.errors import AdakdError, did_you_mean, one_line
from adakd.losses import blocks
from adakd.losses.blocks import (
    DEVICE_BYTES,
    TORCH,
    DivergenceTerm,
    LogitRows,
    RowFunctions,
    Rows,
    SelectedTokens,
    Term,
)

_log = logging.getLogger(__name__)

DEVICES = {"cuda", "xpu"}
"""Device types that the kernels run on. With "cpu" among them Triton's interpreter runs them
without a GPU, if ``TRITON_INTERPRET=1`` was set when Triton was imported."""
DTYPES = {torch.float32, torch.float16, torch.bfloat16}
SAMPLE = 8
"""Rows of each kind of call that are computed both ways."""
TOLERANCE, SLACK = 1e-2, 1e-4
"""Largest relative and absolute difference of a row: above the rounding error of 16 bits."""

Computed = tuple[Tensor, ...]
"""Values ``(K,)`` of K rows and, if asked for, their gradient ``(K, V)``."""

_agreed: dict[Hashable, bool] = {}
"""Whether the sample of each kind of call agreed."""


def row_functions(kernels: Kernels) -> RowFunctions:
    """Return the functions that compute scores and losses of rows.

    With ``auto`` logits on a GPU are computed by Triton kernels, if Triton is there, and others by
    PyTorch.

    Raises:
        AdakdError: an unknown name; or Triton is requested where it cannot run.
    """
    if kernels not in get_args(Kernels):
        raise AdakdError(f"unknown kernels {kernels!r}{did_you_mean(kernels, get_args(Kernels))}")
    if kernels == "torch":
        return TORCH
    if reason := _why_not_triton():
        if kernels == "auto":
            return TORCH
        raise AdakdError(f'kernels: "triton" cannot run here, {reason}: use "torch"')
    if kernels == "triton":
        return RowFunctions(score_rows, loss_rows, scale)
    return RowFunctions(_score_rows_by_device, _loss_rows_by_device, _scale_by_device)


def _score_rows_by_device(
    adaptive: Adaptive, student: Rows, teacher: Rows, labels: Tensor
) -> Tensor:
    on_gpu = student.device.type in DEVICES
    return (score_rows if on_gpu else blocks.score_rows)(adaptive, student, teacher, labels)


def _loss_rows_by_device(term: Term, tokens: SelectedTokens, gradient: Rows | None) -> Tensor:
    on_gpu = tokens.student.device.type in DEVICES
    return (loss_rows if on_gpu else blocks.loss_rows)(term, tokens, gradient)


def _scale_by_device(gradient: Tensor, factor: Tensor) -> None:
    (scale if gradient.device.type in DEVICES else blocks.scale)(gradient, factor)


def score_rows(adaptive: Adaptive, student: Rows, teacher: Rows, labels: Tensor) -> Tensor:
    """Return an adaptive method's scores of all rows, at temperature 1."""
    by_blocks = partial(blocks.score_rows, adaptive)
    if not _is_hellinger(adaptive):
        warn_once(f"the scores of {type(adaptive).__name__} other than the Hellinger distance")
        return by_blocks(student, teacher, labels)
    student, teacher = student.whole(), teacher.whole()
    if not _usable(student, teacher):
        return by_blocks(student, teacher, labels)
    from adakd.losses.triton_kernels import HELLINGER, reduce_rows

    def by_kernel(student: Rows, teacher: Rows, labels: Tensor) -> Tensor:
        return (reduce_rows(HELLINGER, student.whole(), teacher.whole()) / 2).sqrt()

    def sample(compute: Callable[[Rows, Rows, Tensor], Tensor]) -> Computed:
        first = slice(SAMPLE)
        return (compute(_part(student, first), _part(teacher, first), labels[first]),)

    kind = "Hellinger scores", *_kind(student, teacher)
    same = _agree(kind, sample, by_kernel, by_blocks)
    return (by_kernel if same else by_blocks)(student, teacher, labels)


def loss_rows(term: Term, tokens: SelectedTokens, gradient: Rows | None) -> Tensor:
    """Return the value of every selected token, ``(K,)``, and write its gradient.

    Args:
        term: the loss of a token.
        tokens: the selected tokens.
        gradient: the K rows to write to, possibly the student's own; None for no gradient.
    """
    by_blocks = partial(blocks.loss_rows, term)
    if not isinstance(term, DivergenceTerm) or tokens.teacher is None:
        return by_blocks(tokens, gradient)
    if declared_entry_form(term.divergence) is None:
        warn_once(f"the divergence {_name(term.divergence)}, which declares no @entry_form")
        return by_blocks(tokens, gradient)
    out = None if gradient is None else gradient.whole()
    tokens = replace(tokens, student=tokens.student.whole(), teacher=tokens.teacher.whole())
    rows = [part.whole() for part in (tokens.student, tokens.teacher, out) if part is not None]
    if not _usable(*rows):
        return by_blocks(tokens, out)
    from adakd.losses.triton_kernels import bound_form, reduce_rows

    form = bound_form(term.divergence)
    assert form is not None

    def by_kernel(tokens: SelectedTokens, gradient: LogitRows | None) -> Tensor:
        ours, theirs = tokens.student.whole(), (tokens.teacher or tokens.student).whole()
        return reduce_rows(form, ours, theirs, tokens.temperature, tokens.factor, gradient)

    def sample(compute: Callable[[SelectedTokens, LogitRows | None], Tensor]) -> Computed:
        first = _tokens(tokens, slice(SAMPLE))
        first = replace(first, factor=torch.ones_like(first.factor))
        if out is None:
            return (compute(first, None),)
        written = out.logits.new_zeros(len(first.labels), out.logits.shape[-1])
        return compute(first, LogitRows(written)), written

    name, tempered, graded = _name(term.divergence), tokens.temperature is not None, len(rows) == 3
    kind = f"the divergence {name}", form, tempered, graded, *_kind(*rows)
    if not _agree(kind, sample, by_kernel, by_blocks):
        return by_blocks(tokens, out)
    if out is None or not _moves(tokens.student.whole(), out):
        return by_kernel(tokens, out)
    # A kernel processes all rows in parallel: no row may be overwritten before it is read.
    values = []
    for at in _pieces(len(tokens.labels), out):
        piece = _tokens(tokens, at)
        values.append(by_kernel(replace(piece, student=_copy(piece.student)), _part(out, at)))
    return torch.cat(values)


def scale(gradient: Tensor, factor: Tensor) -> None:
    """Multiply a gradient by a scalar, in place; where the scalar is 1, touch no memory."""
    if gradient.dtype not in DTYPES or not gradient.is_contiguous():
        return blocks.scale(gradient, factor)
    from adakd.losses.triton_kernels import multiply

    def sample(compute: Callable[[Tensor, Tensor], None]) -> Computed:
        first = gradient.flatten()[:SAMPLE].clone()
        compute(first, factor)
        return (first,)

    kind = "the factor of a gradient", gradient.dtype, gradient.device
    same = _agree(kind, sample, multiply, blocks.scale)
    return (multiply if same else blocks.scale)(gradient, factor)


def _is_hellinger(adaptive: Adaptive) -> bool:
    if not isinstance(adaptive, AdaKD) or type(adaptive).score is not AdaKD.score:
        return False
    return adaptive.indicator is hellinger and adaptive.scored == "raw"


def _name(divergence: Any) -> str:
    return getattr(getattr(divergence, "func", divergence), "__name__", "without a name")


def _usable(*rows: LogitRows) -> bool:
    """Return whether a kernel can read and write these rows.

    Raises:
        AdakdError: they are not on a device of the kernels.
    """
    logits = [part.logits for part in rows]
    devices = {given.device for given in logits}
    if wrong := {device.type for device in devices} - DEVICES:
        raise AdakdError(
            f'kernels: "triton" needs logits on a GPU, these are on {", ".join(sorted(wrong))}: '
            'move both models, or use "torch"'
        )
    if unknown := {given.dtype for given in logits} - DTYPES:
        warn_once(f"logits in {', '.join(sorted(map(str, unknown)))}")
        return False
    if any(given.stride(1) != 1 for given in logits):
        warn_once("logits whose vocabulary is not contiguous in memory")
        return False
    return len(devices) == 1


@cache
def warn_once(part: str) -> None:
    """Warn that a part of the loss has no kernel, once for each."""
    _log.warning("there is no Triton kernel for %s: computed by torch", part)


@cache
def _why_not_triton() -> str | None:
    """Return why the kernels cannot run on this machine; None where they can."""
    found = torch.accelerator.current_accelerator()
    if "cpu" not in DEVICES and (found is None or found.type not in DEVICES):
        return "where PyTorch finds no GPU"
    if find_spec("triton") is None:
        return "where Triton is not installed"
    try:
        import_module("adakd.losses.triton_kernels")
    except Exception as error:  # whatever a Triton built for another machine may raise
        return f"since Triton does not import ({type(error).__name__}: {error})"
    return None


def _kind(*rows: LogitRows) -> tuple[Hashable, ...]:
    """Return the properties of rows that a kernel is compiled for."""
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
    """Return whether a kernel agrees with blocks on the first rows of its kind of call."""
    if kind not in _agreed:
        try:
            _agreed[kind] = all(map(_close, sample(by_kernel), sample(by_blocks)))
            reason = "their numbers differ from those of torch"
        except Exception as error:  # whatever a compiler or a driver may raise
            _agreed[kind], reason = False, _cause(error)
        if not _agreed[kind]:
            _log.warning("Triton kernels are not used for %s: %s", kind[0], reason)
    return _agreed[kind]


def _cause(error: BaseException) -> str:
    """Return the innermost cause: Triton wraps an error in those of the calls around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {one_line(error)}"


def _close(got: Tensor, wanted: Tensor) -> bool:
    """Return whether rows agree up to rounding; rows that are not finite are not compared."""
    got, wanted = (part.double().reshape(len(part), -1) for part in (got, wanted))
    difference, size = (got - wanted).norm(dim=1), wanted.norm(dim=1)
    return bool((difference <= TOLERANCE * size + SLACK)[size.isfinite()].all())


def _moves(student: LogitRows, gradient: LogitRows) -> bool:
    """Return whether a gradient overwrites the logits of other rows than its own."""
    same = (
        student.logits.untyped_storage().data_ptr() == gradient.logits.untyped_storage().data_ptr()
    )
    return same and student.index is not gradient.index


def _pieces(rows: int, gradient: LogitRows) -> Iterator[slice]:
    step = max(1, DEVICE_BYTES // (gradient.logits.shape[1] * gradient.logits.itemsize))
    for start in range(0, rows, step):
        yield slice(start, start + step)


def _part(given: Rows, at: slice) -> LogitRows:
    rows = given.whole()
    if rows.index is None:
        return replace(rows, logits=rows.logits[at])
    return replace(rows, index=rows.index[at])


def _copy(given: Rows) -> LogitRows:
    rows = given.whole()
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
