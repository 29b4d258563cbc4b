"""Measure how fast this machine computes: products of matrices, and calls of operations."""

from time import perf_counter

import torch

from adakd.execution.guess import Guess, Processor
from adakd.execution.needs import Sizes
from adakd.models.loading import DTYPES, device
from adakd.planning import Plan

ROWS, WIDEST = 256, 1024
"""Rows of a product as in a training, and the widest model whose width is measured."""
SECONDS = 0.05
"""Given to each measurement, after its first call."""
CALLS = 100


def guessed(planned: Plan) -> Guess | None:
    """Return the pace of a plan on this machine, by measurements of a fifth of a second.

    None beside a GPU, whose overheads no measurement of a product tells, and where the sizes of
    the models are not known.
    """
    where, sizes = device(), Sizes.of(planned)
    if where.type != "cpu" or sizes.student is None:
        return None
    suite, width = planned.suite, min(sizes.student.width, WIDEST)
    names: set[str] = {suite.training.precision, suite.evaluation.precision}
    if suite.teacher.sft is not None:
        names.add(suite.teacher.sft.precision)
    speeds = {
        name: product_speed(DTYPES[name], where, (ROWS, width, 4 * width), SECONDS)
        for name in sorted(names)
    }
    return Guess(sizes, Processor(speeds, call_seconds()))


def product_speed(
    dtype: torch.dtype, where: torch.device, shape: tuple[int, int, int], seconds: float
) -> float:
    """Return the operations a second of a matrix product, from the fastest of several.

    Args:
        dtype: of both matrices.
        where: the device.
        shape: rows, inner dimension and columns.
        seconds: time to measure in; at least two products are computed.
    """
    rows, inner, columns = shape
    a = torch.ones(rows, inner, dtype=dtype, device=where)
    b = torch.ones(inner, columns, dtype=dtype, device=where)
    best, start = float("inf"), perf_counter()
    for number in range(1_000):
        before = perf_counter()
        (a @ b)[0, 0].item()  # which waits for a GPU
        now = perf_counter()
        if number:  # the first loads kernels
            best = min(best, now - before)
        if number and now - start > seconds:
            break
    return 2 * rows * inner * columns / best


def call_seconds() -> float:
    """Return the seconds of an operation on few numbers with its part of the backward pass."""
    numbers = torch.ones(8, requires_grad=True)
    best, start = float("inf"), perf_counter()
    while perf_counter() - start < SECONDS:
        before, found = perf_counter(), numbers
        for _ in range(CALLS):
            found = found * 1.0
        best = min(best, perf_counter() - before)
    return best / CALLS
