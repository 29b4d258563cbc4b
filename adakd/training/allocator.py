"""Memory that the process frees stays with it, so that the next step need not fetch it anew.

By default glibc asks the system for every large tensor and gives it back at once; the system then
clears all its pages anew in every step, which can take longer than the arithmetic on them.
"""

import ctypes
import os
import platform

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of glibc's ``mallopt``."""
_OWN_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> None:
    """Let glibc serve every size from its heap and never shrink that by itself.

    Does nothing where a GPU computes, where another C library runs, or where the environment sets
    the allocator. The process holds its highest demand until it ends, and between its chunks some
    memory lies idle; :func:`return_freed_memory` hands back what is free.
    """
    own = any(name in os.environ for name in _OWN_SETTINGS)
    if _glibc() and not own and not torch.accelerator.is_available():
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, -1)


def return_freed_memory() -> None:
    """Give the system what is free, so that the resident set is what the process uses."""
    if _glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
