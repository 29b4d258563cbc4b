"""Compile the kernels as calls do, for GPUs that need not be present, without running them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from adakd.divergences import divergence
from adakd.losses import triton_kernels
from adakd.losses.blocks import UNSCALED, LogitRows, LogitScaling


class Absent:
    """A stub driver of a GPU that is not present, sufficient for compilation."""

    def __init__(self, number: int, target: GPUTarget) -> None:
        self._number, self._target = number, target

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return self._number

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_one(
    form: triton_kernels.BoundForm,
    dtype: torch.dtype = torch.bfloat16,
    graded: bool = True,
    gathered: bool = False,
    scaling: LogitScaling = UNSCALED,
) -> None:
    logits = torch.zeros(2, 151_936, dtype=dtype)
    rows = LogitRows(logits, torch.arange(2) if gathered else None, scaling)
    ones, out = torch.ones(2), LogitRows(torch.empty_like(logits), rows.index)
    tau = ones if gathered else None
    triton_kernels.reduce_rows(form, rows, rows, tau, *((ones, out) if graded else (None, None)))


def compile_only(launch: Callable[..., Any], *given: Any, **named: Any) -> Any:
    return launch(*given, **named | {"warmup": True})


def main() -> None:
    for kernel in (triton_kernels.reduce, triton_kernels.multiply_entries):
        kernel.run = partial(compile_only, kernel.run)
    driver.set_active(Absent(0, GPUTarget("cuda", 90, 32)))
    for name in sorted(divergence):
        if form := triton_kernels.bound_form(divergence[name]):
            compile_one(form)
            print(name)
    form = triton_kernels.bound_form(divergence["alpha_beta"])
    compile_one(form, torch.float32, graded=False)
    print("values")
    compile_one(form, torch.float16, gathered=True)
    print("gathered")
    compile_one(form, scaling=LogitScaling(0.5, 30.0))
    print("finished")
    compile_one(triton_kernels.HELLINGER, graded=False)
    print("Hellinger")
    triton_kernels.multiply(torch.zeros(9, dtype=torch.bfloat16), torch.ones(()))
    print("factor")
    driver.set_active(Absent(1, GPUTarget("cuda", 80, 32)))
    compile_one(form, gathered=True)
    print("80")
    driver.set_active(Absent(2, GPUTarget("hip", "gfx942", 64)))
    compile_one(form, gathered=True)
    print("gfx942")


if __name__ == "__main__":
    main()
