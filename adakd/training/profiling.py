"""Where the time of a training step goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from adakd.store.records import Phase
from adakd.training.allocator import return_freed_memory


class Clock:
    """Adds up the seconds of each phase of a step; a GPU is waited for at the borders."""

    def __init__(self) -> None:
        self.seconds: dict[Phase, float] = {}

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Count the time inside the ``with`` block as `name`."""
        start = now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + now() - start

    def take(self) -> dict[Phase, float]:
        """Return the seconds so far and start again at zero."""
        taken, self.seconds = self.seconds, {}
        return taken


def now() -> float:
    """Return the seconds of a monotonic clock, after all queued GPU work is done."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()


def reset_peak() -> None:
    """Start a new measurement of the peak memory, where the system can."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.exists():
        return_freed_memory()
        _CLEAR.write_text("5")


def peak_bytes() -> int | None:
    """Return the most memory in use since :func:`reset_peak`: of the GPU, else of the process.

    None where neither CUDA nor Linux's counter of the resident set is there.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if not _CLEAR.exists():
        return None
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


_CLEAR = Path("/proc/self/clear_refs")
"""Writing 5 to it resets the process's peak resident set (Linux)."""
