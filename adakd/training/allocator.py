"""Keep freed memory in the process, so that the next step can reuse it.

By default glibc requests every large tensor from the system and returns it at once; the system then
zeroes all its pages again in every step, which can take longer than the arithmetic on them.

The command line calls :func:`keep_freed_memory`; the library never does, so that a Python program
keeps its own allocator settings. ``GLIBC_TUNABLES``, ``MALLOC_TRIM_THRESHOLD_`` and
``MALLOC_MMAP_THRESHOLD_`` in the environment take precedence: with any of them set, the command
line changes nothing either.
"""

import ctypes
import os
import platform

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of glibc's ``mallopt``."""
_OWN_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> None:
    """Make glibc serve every size from its heap and never shrink it by itself.

    Does nothing on a machine with a GPU, with another C library, or if the environment configures
    the allocator. The process then keeps its peak memory until it ends, plus some fragmentation;
    :func:`return_freed_memory` returns the free part.
    """
    own = any(name in os.environ for name in _OWN_SETTINGS)
    if _glibc() and not own and not torch.accelerator.is_available():
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, -1)


def return_freed_memory() -> None:
    """Return free memory to the system, so that the resident set is the memory in use."""
    if _glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
