"""Values and gradients of whole rows on a GPU: one Triton program per token.

A program reads its token's logits twice for the value and three times for the gradient, and holds a
few thousand vocabulary entries at a time in registers: whatever the vocabulary, it touches no
memory but the logits and their gradient. Forward and reverse KL and the Hellinger distance need one
reading less: their sums are collected along with the normalisers, each relative to the largest
logits so far. What little differs between two almost equal distributions is lost in such a sum, so
their tokens take the longer way. Only :mod:`adakd.losses.dispatch` imports this module, if Triton
is installed.
"""

import ast
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from adakd.divergences import Divergence
from adakd.divergences.base import declared_entry_form
from adakd.divergences.kl import forward_kl, reverse_kl
from adakd.divergences.pair import FLOOR
from adakd.losses.blocks import LogitRows

ENTRIES_AT_A_TIME = 2048
"""Vocabulary entries that a program holds at a time: at least one per thread, so that each element
of a gradient that overwrites its logits is written by the thread that has read it."""
WARPS = 8
"""Groups of 32 threads per program. Both are the fastest of those that
``tests/gpu/bench_loss.py`` tried on an H200, at vocabularies of 49,152 and of 152,000."""

PROGRAMS = 4096
"""Most programs that multiply a gradient: several for each multiprocessor of the largest GPU."""

_FLOOR = tl.constexpr(FLOOR)
_CANCELLED = tl.constexpr(0.05)
"""A value below this share of the terms that it is the difference of is summed entry by entry."""
_REVERSE, _FORWARD, _AFFINITY = map(tl.constexpr, ("reverse", "forward", "affinity"))


@dataclass(frozen=True)
class BoundForm:
    """An entry form with its settings: the summand over vocabulary entries."""

    function: Callable[..., Any]
    settings: tuple[Any, ...] = ()
    online: str | None = None
    """Which sum is collected along with the normalisers: ``reverse`` or ``forward``, the mean
    logarithmic ratio under the student or the teacher, or ``affinity``, the sum of
    :math:`\\sqrt{p_v q_v}`; None if no such sum gives the value."""


def _hellinger(
    log_q: tl.tensor, log_p: tl.tensor, q: tl.tensor, p: tl.tensor
) -> tuple[tl.tensor, tl.tensor]:
    gap = (0.5 * log_p).exp() - (0.5 * log_q).exp()
    return gap * gap, gap


HELLINGER = BoundForm(_hellinger, online="affinity")
"""Half of its sum is the squared Hellinger distance; for values only, not gradients."""
_ONLINE: dict[Any, str] = {reverse_kl: "reverse", forward_kl: "forward"}


def bound_form(of: Divergence) -> BoundForm | None:
    """Return the entry form of a divergence with its settings; None without one."""
    declared = declared_entry_form(of)
    return None if declared is None else BoundForm(*declared, _ONLINE.get(of))


def reduce_rows(
    form: BoundForm,
    student: LogitRows,
    teacher: LogitRows,
    temperature: Tensor | None = None,
    factor: Tensor | None = None,
    gradient: LogitRows | None = None,
) -> Tensor:
    r"""Return the sum over vocabulary entries for each of K rows, ``(K,)``, and write its gradient.

    Args:
        form: the summand.
        student: logits in float32, float16 or bfloat16.
        teacher: logits in any of these.
        temperature: temperature of each row, ``(K,)``; None for 1 everywhere.
        factor: factor of each row's gradient with respect to its tempered logits, ``(K,)``.
        gradient: the rows to write to, or None. They may be the student's own rows; other rows of
            the same memory would be overwritten before they are read.
    """
    count = len(student.logits if student.index is None else student.index)
    device = student.logits.device
    values = torch.empty(count, device=device)
    arguments = (
        *_pointer(student),
        *_pointer(teacher),
        *((None, 0, None) if gradient is None else _pointer(gradient)),
        None if temperature is None else temperature.contiguous(),
        None if factor is None else factor.contiguous(),
        values,
        student.logits.shape[-1],
    )
    scaling = student.scaling.scale, student.scaling.softcap
    theirs = teacher.scaling.scale, teacher.scaling.softcap
    constants = (*_compiled(form), form.online, *scaling, *theirs, ENTRIES_AT_A_TIME)
    with _on(device):
        reduce[(count,)](*arguments, *constants, num_warps=WARPS)
    return values


def multiply(gradient: Tensor, factor: Tensor) -> None:
    """Multiply a contiguous tensor by a scalar on its device, in place.

    The scalar is applied in float32; PyTorch would round it to the precision of the gradient, and
    takes four times as long where the two differ.
    """
    programs = min(PROGRAMS, triton.cdiv(gradient.numel(), ENTRIES_AT_A_TIME))
    with _on(gradient.device):
        multiply_entries[(programs,)](
            gradient, factor, gradient.numel(), programs, ENTRIES_AT_A_TIME, num_warps=WARPS
        )


def _on(device: torch.device) -> AbstractContextManager[Any]:
    # The interpreter works in CPU memory.
    return nullcontext() if device.type == "cpu" else torch.get_device_module(device).device(device)


@cache
def _compiled(form: BoundForm) -> tuple[Any, Any]:
    """Compile a form for a kernel; the interpreter takes it unchanged."""
    if not isinstance(reduce, triton.JITFunction):
        return form.settings, form.function
    compiled = triton.jit(form.function)
    # Triton evaluates annotations, and knows no name but its own.
    function = ast.parse(compiled.src).body[0]
    assert isinstance(function, ast.FunctionDef)
    function.returns = None
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    compiled._unsafe_update_src(ast.unparse(function))
    return tuple(map(tl.constexpr, form.settings)), compiled


def _pointer(rows: LogitRows) -> tuple[Tensor, int, Tensor | None]:
    return rows.logits, rows.logits.stride(0), rows.index


# --- kernels ------------------------------------------------------------------------------------


@triton.jit
def reduce(
    student: tl.tensor,
    student_stride: tl.tensor,
    student_index: tl.tensor,
    teacher: tl.tensor,
    teacher_stride: tl.tensor,
    teacher_index: tl.tensor,
    gradient: tl.tensor,
    gradient_stride: tl.tensor,
    gradient_index: tl.tensor,
    temperature: tl.tensor,
    factor: tl.tensor,
    values: tl.tensor,
    entries: tl.tensor,
    settings: tl.tuple,
    FORM: tl.constexpr,
    ONLINE: tl.constexpr,
    SCALE: tl.constexpr,
    CAP: tl.constexpr,
    THEIR_SCALE: tl.constexpr,
    THEIR_CAP: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Process one row: normalisers, then the sums of values and slopes, then the gradient."""
    row = tl.program_id(0)
    ours = student + _place(row, student_index) * student_stride
    theirs = teacher + _place(row, teacher_index) * teacher_stride
    cold = 1.0
    if temperature is not None:
        cold /= tl.load(temperature + row)

    # Logits of both models may differ by a constant, which would hide a small divergence.
    shift = 0.0
    if ONLINE == _REVERSE or ONLINE == _FORWARD:  # noqa: SIM109  # as Triton compiles it
        entry = tl.arange(0, BLOCK)
        shift = tl.max(_logits(ours, entry, entries, SCALE, CAP), 0) * cold
        shift -= tl.max(_logits(theirs, entry, entries, THEIR_SCALE, THEIR_CAP), 0) * cold
        shift = tl.where(tl.abs(shift) < 1e30, shift, 0.0)
    # Each lane has a top and a mass of its own: lanes meet once, after the loop.
    our_tops, their_tops = tl.full([BLOCK], -3e38, tl.float32), tl.full([BLOCK], -3e38, tl.float32)
    our_masses, their_masses = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    sums = tl.zeros([BLOCK], tl.float32)
    for start in range(0, entries, BLOCK):
        entry = start + tl.arange(0, BLOCK)
        z_q = _logits(ours, entry, entries, SCALE, CAP) * cold
        z_p = _logits(theirs, entry, entries, THEIR_SCALE, THEIR_CAP) * cold
        our_tops, our_old, our_new = _grow(our_tops, z_q)
        their_tops, their_old, their_new = _grow(their_tops, z_p)
        if ONLINE == _AFFINITY:
            sums = sums * (our_old * their_old) + our_new * their_new
        # _grow returns square roots
        our_old, our_new = our_old * our_old, our_new * our_new
        their_old, their_new = their_old * their_old, their_new * their_new
        our_masses = our_masses * our_old + our_new
        their_masses = their_masses * their_old + their_new
        if ONLINE == _REVERSE:
            part = tl.where(our_new > 0, our_new * (z_q - z_p - shift), 0.0)
            sums = sums * our_old + part
        if ONLINE == _FORWARD:
            part = tl.where(their_new > 0, their_new * (z_p - z_q + shift), 0.0)
            sums = sums * their_old + part
    our_top, their_top = tl.max(our_tops, 0), tl.max(their_tops, 0)
    our_tops, their_tops = tl.exp((our_tops - our_top) / 2), tl.exp((their_tops - their_top) / 2)
    our_mass = tl.sum(our_masses * our_tops * our_tops, 0)
    their_mass = tl.sum(their_masses * their_tops * their_tops, 0)
    value, size = 0.0, 0.0
    whole = our_mass * 0.0  # a tensor, as the branch below makes it
    if ONLINE == _AFFINITY:
        size = 2.0
        value = 2 - 2 * tl.sum(sums * our_tops * their_tops, 0) / tl.sqrt(our_mass * their_mass)
    if ONLINE == _REVERSE:
        value = tl.sum(sums * our_tops * our_tops, 0) / our_mass
    if ONLINE == _FORWARD:
        value = tl.sum(sums * their_tops * their_tops, 0) / their_mass
    our_mass, their_mass = tl.log(our_mass), tl.log(their_mass)
    if ONLINE == _REVERSE or ONLINE == _FORWARD:  # noqa: SIM109  # as Triton compiles it
        apart = our_top - their_top + (our_mass - their_mass) - shift
        size = tl.abs(value) + tl.abs(apart)
        if ONLINE == _REVERSE:
            value -= apart
            whole = value
        else:
            value += apart
            whole = whole - 1.0

    exact = True
    if ONLINE is not None:
        exact = (value > size * _CANCELLED) == 0  # also where either is not a number
    if exact:
        parts, slopes = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
        for start in range(0, entries, BLOCK):
            entry = start + tl.arange(0, BLOCK)
            z_q = _logits(ours, entry, entries, SCALE, CAP) * cold
            z_p = _logits(theirs, entry, entries, THEIR_SCALE, THEIR_CAP) * cold
            log_q = _bounded(z_q - our_top - our_mass)
            log_p = _bounded(z_p - their_top - their_mass)
            part, slope = FORM(log_q, log_p, tl.exp(log_q), tl.exp(log_p), *settings)
            parts += tl.where(entry < entries, part, 0.0)
            slopes += tl.where(log_q > _FLOOR, slope, 0.0)
        value, whole = tl.sum(parts, 0), tl.sum(slopes, 0)
    tl.store(values + row, value)

    if gradient is not None:
        target = gradient + _place(row, gradient_index) * gradient_stride
        times = tl.load(factor + row) * cold * SCALE
        for start in range(0, entries, BLOCK):
            entry = start + tl.arange(0, BLOCK)
            scaled = _logits(ours, entry, entries, SCALE, CAP)
            z_q = scaled * cold
            z_p = _logits(theirs, entry, entries, THEIR_SCALE, THEIR_CAP) * cold
            log_q = _bounded(z_q - our_top - our_mass)
            log_p = _bounded(z_p - their_top - their_mass)
            q = tl.exp(log_q)
            part, slope = FORM(log_q, log_p, q, tl.exp(log_p), *settings)
            by_logits = (tl.where(log_q > _FLOOR, slope, 0.0) - q * whole) * times
            if CAP is not None:
                by_logits *= 1.0 - (scaled / CAP) * (scaled / CAP)
            tl.store(target + entry, by_logits.to(gradient.dtype.element_ty), entry < entries)


@triton.jit
def multiply_entries(
    values: tl.tensor,
    factor: tl.tensor,
    count: tl.tensor,
    programs: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Multiply entries by a scalar, unless it is 1."""
    times = tl.load(factor).to(tl.float32)
    if times != 1.0:
        # 64 bits: rows times entries may exceed 32.
        for start in range(tl.program_id(0).to(tl.int64) * BLOCK, count, programs * BLOCK):
            entry = start + tl.arange(0, BLOCK)
            value = tl.load(values + entry, entry < count).to(tl.float32) * times
            tl.store(values + entry, value.to(values.dtype.element_ty), entry < count)


@triton.jit
def _bounded(logarithm: tl.tensor) -> tl.tensor:
    """Clamp to at least FLOOR; unlike `maximum` this keeps NaN."""
    return tl.where(logarithm < _FLOOR, _FLOOR, logarithm)


@triton.jit
def _place(row: tl.tensor, index: tl.tensor) -> tl.tensor:
    """Return the index of a row in 64 bits: rows times entries may exceed 32 bits."""
    place = row
    if index is not None:
        place = tl.load(index + row)
    return place.to(tl.int64)


@triton.jit
def _logits(
    start: tl.tensor, entry: tl.tensor, entries: tl.tensor, SCALE: tl.constexpr, CAP: tl.constexpr
) -> tl.tensor:
    """Return scaled logits in float32, and -inf beyond the vocabulary."""
    z = tl.load(start + entry, entry < entries, other=-float("inf")).to(tl.float32)
    if SCALE != 1.0:
        z = z * SCALE
    if CAP is not None:
        # tanh, with an exponential that cannot overflow
        small = tl.exp(-2.0 * tl.abs(z) / CAP)
        z = tl.where(z < 0, -CAP, CAP) * (1.0 - small) / (1.0 + small)
        z = tl.where(entry < entries, z, -float("inf"))
    return z


@triton.jit
def _grow(tops: tl.tensor, z: tl.tensor) -> tl.tensor:
    """Return the largest logits, and the square roots of the factors of old masses and new ones.

    With one exponential: of the two factors one is 1.
    """
    higher = z - tops
    root = tl.exp(-0.5 * tl.abs(higher))
    return tl.maximum(tops, z), tl.where(higher > 0, root, 1.0), tl.where(higher > 0, 1.0, root)
