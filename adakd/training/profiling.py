"""Time and memory of training steps."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from adakd.store.steps import Phase
from adakd.training.allocator import return_freed_memory


class Clock:
    """Sums the seconds of each phase of a step; synchronizes with a GPU at phase boundaries."""

    def __init__(self) -> None:
        self.seconds: dict[Phase, float] = {}

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Add the time of the ``with`` block to phase `name`."""
        start = now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + now() - start

    def take(self) -> dict[Phase, float]:
        """Return the seconds so far and reset them."""
        taken, self.seconds = self.seconds, {}
        return taken


def now() -> float:
    """Return the seconds of a monotonic clock, after all queued GPU work has finished."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()


def reset_peak() -> None:
    """Start a new measurement of the memory peak, if the system supports it."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.exists():
        return_freed_memory()
        _CLEAR.write_text("5")


def peak_bytes() -> int | None:
    """Return the memory peak since :func:`reset_peak`: of the GPU, otherwise of the process.

    None if there is neither CUDA nor Linux's counter of the resident set.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if not _CLEAR.exists():
        return None
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


_CLEAR = Path("/proc/self/clear_refs")
"""Writing 5 to this file resets the peak resident set of the process (Linux)."""
