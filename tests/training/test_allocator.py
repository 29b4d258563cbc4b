"""The allocator's setting, in processes of their own: it cannot be taken back."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from adakd import cli
from adakd.commands import run
from adakd.training import allocator

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


LIBRARY = """
import ctypes, sys
from pathlib import Path

class Spied(ctypes.CDLL):
    def __getattr__(self, name):
        names.add(name)
        return super().__getattr__(name)

names = set()
ctypes.CDLL = Spied
import adakd
assert not names
adakd.run(adakd.load_suite(sys.argv[1]), Path(sys.argv[2]))
print(*names)
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="memory is measured on the GPU")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_a_run_as_a_library_call_sets_nothing(suite_file: Any, tmp_path: Path) -> None:
    """What it calls of glibc is known from what it does call: the memory peak trims."""
    short = {"training.steps": 1, "evaluation.choices": [], "controls.sft": False, "judges": []}
    arguments = [str(suite_file(short)), str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY, *arguments], capture_output=True, text=True, check=True
    )
    assert "malloc_trim" in done.stdout.split()
    assert "mallopt" not in done.stdout.split()


def test_the_command_line_sets_it_before_a_run(
    suite_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def stop(*_: Any) -> None:
        calls.append("run")
        raise KeyboardInterrupt

    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: calls.append("set"))
    monkeypatch.setattr(run.Start, "run", stop)
    CliRunner().invoke(cli.app, ["run", str(suite_file()), "--out", str(tmp_path / "run")])
    assert calls == ["set", "run"]
