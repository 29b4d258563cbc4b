"""``precision: auto``: what this device computes fastest in. Needs no torch.

The resolved value is what keys and records hold, so a run that goes on elsewhere is never mixed.
"""

import ctypes
import os
import re
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from adakd.config import Suite, Training
from adakd.config.scoring import Evaluation

BF16_FLAGS = ("amx_bf16", "avx512_bf16")
"""Flags of processors that multiply in bfloat16; others convert every operand."""
BF16_CAPABILITY = 8
"""The first major compute capability of NVIDIA GPUs that multiply in bfloat16."""
_CPUINFO = Path("/proc/cpuinfo")
Settings = TypeVar("Settings", Training, Evaluation)
_CUDA_BUILD = re.compile(r"^cuda\b[^=]*=\s*['\"]", re.MULTILINE)


class Fastest(NamedTuple):
    """The precision that a device computes fastest in, and the device."""

    precision: str
    device: str


@lru_cache(maxsize=1)
def fastest() -> Fastest:
    """Return the precision that this machine computes fastest in: ``bf16`` or ``float32``.

    The first GPU counts where torch can use one, else the processor.
    """
    capability = _gpu_capability() if _torch_has_cuda() else None
    if capability is not None:
        precision = "bf16" if capability[0] >= BF16_CAPABILITY else "float32"
        return Fastest(precision, f"a GPU of compute capability {capability[0]}.{capability[1]}")
    flags = _processor_flags()
    for flag in BF16_FLAGS:
        if flag in flags:
            return Fastest("bf16", f"a processor with {flag}")
    return Fastest("float32", "a processor without bfloat16 instructions")


def with_precision(suite: Suite) -> Suite:
    """Return a suite whose ``precision: auto`` is what this machine computes fastest in."""
    if (sft := suite.teacher.sft) is not None:
        teacher = suite.teacher.model_copy(update={"sft": _resolved(sft)})
        suite = suite.model_copy(update={"teacher": teacher})
    evaluation = _resolved(suite.evaluation)
    return suite.model_copy(
        update={"training": _resolved(suite.training), "evaluation": evaluation}
    )


def precision_line(suite: Suite) -> str:
    """Return the precisions that the models of a resolved suite compute in, in words."""
    parts = [f"{suite.training.precision} (training)", f"{suite.evaluation.precision} (scoring)"]
    if suite.teacher.sft is not None:
        parts.insert(0, f"{suite.teacher.sft.precision} (teacher.sft)")
    precision, device = fastest()
    return f"computed in: {', '.join(parts)}; fastest here: {precision}, on {device}"


def _resolved(settings: Settings) -> Settings:
    if settings.precision != "auto":
        return settings
    return settings.model_copy(update={"precision": fastest().precision})


def _processor_flags() -> frozenset[str]:
    """Return the flags of the first processor; none where the system does not list them."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    return next((frozenset(value.split()) for name, _, value in lines if name[:5] == "flags"),
                frozenset())  # fmt: skip


def _torch_has_cuda() -> bool:
    """Return whether torch is built for NVIDIA GPUs, without importing it."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return False
    try:
        text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    return bool(_CUDA_BUILD.search(text))


def gpus() -> int:
    """Return how many GPUs torch can use on this machine."""
    if not _torch_has_cuda():
        return 0
    count = ctypes.c_int()
    found = _asked_of_driver(lambda nvml: nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0)
    if not found or (visible := _visible_gpus()) is None:
        return count.value
    return min(count.value, len(visible)) if all(map(str.isdecimal, visible)) else len(visible)


def _visible_gpus() -> list[str] | None:
    """Return the numbers or names of the GPUs that a process may use; None for all."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return None
    names = [name.strip() for name in given.split(",")]
    ends = (place for place, name in enumerate(names) if not name or name.startswith("-"))
    return names[: next(ends, len(names))]


def _gpu_capability() -> tuple[int, int] | None:
    """Return the compute capability of the first visible NVIDIA GPU."""
    visible = _visible_gpus()
    if visible is not None and not visible:
        return None
    first = visible[0] if visible else "0"
    index = int(first) if first.isdecimal() else 0  # the name of a GPU or of a MIG slice
    device, major, minor = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()

    def ask(nvml: Any) -> bool:
        if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) != 0:
            return False
        asked = ctypes.byref(major), ctypes.byref(minor)
        return bool(nvml.nvmlDeviceGetCudaComputeCapability(device, *asked) == 0)

    return (major.value, minor.value) if _asked_of_driver(ask) else None


def _asked_of_driver(ask: Callable[[Any], bool]) -> bool:
    """Return whether the library of NVIDIA's driver is there and answers a question.

    NVML is asked, and not CUDA, which must not be started before processes are forked.
    """
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        if nvml.nvmlInit_v2() != 0:
            return False
        try:
            return ask(nvml)
        finally:
            nvml.nvmlShutdown()
    except (OSError, AttributeError):
        return False
