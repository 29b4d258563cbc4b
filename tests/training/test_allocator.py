"""The allocator's setting, in a process of its own: it cannot be taken back."""

import platform
import subprocess
import sys

import pytest
import torch

CODE = """
import resource, sys, torch
from adakd.training.allocator import keep_freed_memory, return_freed_memory
from pathlib import Path

def resident():
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(SIZE)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

SIZE = 4 << 20
pages = 4 * SIZE // resource.getpagesize()
faults()
before = faults()
keep_freed_memory()
after = sum(faults() for _ in range(100)) / 100  # the first, until glibc's caches are full
kept = resident()
return_freed_memory()
print(before / pages, after / pages, (kept - resident()) / (4 * SIZE))
"""


@pytest.mark.skipif(torch.accelerator.is_available(), reason="left alone beside a GPU")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize("own", [False, True])
def test_freed_memory_is_used_again(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the environment says otherwise."""
    if own:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, after, returned = map(float, done.stdout.split())
    assert before > 0.9
    if own:
        assert after > 0.9
    else:
        assert after < 0.5
        assert returned > 0.9
