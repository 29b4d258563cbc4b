"""Run the benchmarks in a process of their own, with settings of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from adakd.benchmarks.pytest_plugin import MARK
from adakd.benchmarks.results import Bench, slim
from adakd.config import resources
from adakd.errors import AdakdError
from adakd.progress import Progress, Silent

NEEDED = {
    "pytest": "pytest",
    "pytest_benchmark": "pytest-benchmark",
    "rouge_score": "rouge-score",
}
"""Modules that only the benchmarks need, with the names of their packages."""
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "16000000000"}
"""glibc: freed memory is reused on both sides, instead of being returned and requested again."""
_OWN = ("PYTEST_", "GLIBC_TUNABLES")
"""Prefixes of environment variables that are meant for other tests and programs."""
NOTHING_CHOSEN, SOME_FAILED = 5, 1
"""Exit codes of pytest."""


def run_benchmarks(expression: str | None = None, progress: Progress | None = None) -> Bench:
    """Run the benchmarks, both sides in turn on one thread, and return the measurements.

    Args:
        expression: chooses cases, as pytest's ``-k`` does; all if not given.
        progress: receives every case; silent by default.

    Raises:
        AdakdError: a package is missing, no case is chosen, or pytest itself has failed.
    """
    from adakd.store import provenance

    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise AdakdError(f"the benchmarks need {', '.join(missing)}: pip install 'adakd[bench]'")
    started, before = datetime.now(UTC).isoformat(timespec="seconds"), _Load.now()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.json")
        failed = _run(expression, file, progress or Silent())
        report = json.loads(file.read_bytes()) if file.exists() else {"benchmarks": []}
    return Bench(
        datetime=started,
        machine_info=provenance.hardware(),
        versions=provenance.versions(),
        commit=provenance.commit(),
        others=before.others_until(_Load.now()),
        environment=ALLOCATOR,
        expression=expression,
        failed=tuple(map(_name, failed)),
        benchmarks=slim(report, leave_out=failed),
    )


@dataclass(frozen=True)
class _Load:
    """Seconds of the machine's cores: in all, busy, and busy for this process."""

    total: float
    busy: float
    ours: float

    @classmethod
    def now(cls) -> "_Load":
        cores, own = psutil.cpu_times(), os.times()
        # Linux counts the time of guests within that of users too.
        guests = getattr(cores, "guest", 0.0) + getattr(cores, "guest_nice", 0.0)
        total = sum(cores) - guests
        idle = cores.idle + getattr(cores, "iowait", 0.0)
        return cls(total, total - idle, sum(own[:4]))

    def others_until(self, later: "_Load") -> float | None:
        """Return the share of the cores that other programs used; None if no time has passed."""
        total = later.total - self.total
        others = (later.busy - self.busy) - (later.ours - self.ours)
        return min(max(others / total, 0.0), 1.0) if total > 0 else None


def _run(expression: str | None, file: Path, progress: Progress) -> tuple[str, ...]:
    """Run pytest and return the ids of the cases that failed."""
    with subprocess.Popen(
        [*_command(file), *(["-k", expression] if expression else [])],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as child:
        output: deque[str] = deque(maxlen=20)
        failed = tuple(_follow(_events(child, output), progress))
    if child.returncode == NOTHING_CHOSEN:
        raise AdakdError(f"-k {expression!r} chooses no benchmark")
    if child.returncode != (SOME_FAILED if failed else 0):
        shown = "\n".join(line for line in output if line.strip())
        raise AdakdError(f"the benchmarks ended with code {child.returncode}:\n{shown}")
    return failed


def _command(file: Path) -> list[str]:
    """Return the command of pytest, without the settings and plug-ins of the caller."""
    folder = resources.benchmarks()
    command = [sys.executable, "-P", "-m", "pytest", str(folder)]
    command += ["-c", str(folder / "bench.ini"), "--rootdir", str(folder)]
    command += ["-p", "pytest_benchmark.plugin", "-p", "adakd.benchmarks.pytest_plugin", "-s", "-q"]
    return [*command, f"--benchmark-json={file}", f"--benchmark-storage=file://{file.parent}"]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    own = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return kept | ALLOCATOR | own


def _events(child: subprocess.Popen[str], output: deque[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of the plug-in; all other lines go into `output`."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(MARK):
            yield json.loads(line.removeprefix(MARK))
        else:
            output.append(line.rstrip())


def _follow(events: Iterator[dict[str, Any]], progress: Progress) -> Iterator[str]:
    """Show each case while it runs; yield those that failed."""
    total = number = 0
    for event in events:
        total = event.get("total", total)
        if "begins" in event:
            number += 1
            case, name = event["begins"], _name(event["begins"])
            with progress.stage(f"{number:>2} of {total}  {name}", 1) as show:
                why = _until_end(events)
                show(1)
            if why is not None:
                reason = f"{name}: {why.strip().splitlines()[-1]}"
                progress.note(f"failed {reason}", "red")
                yield case


def _name(case: str) -> str:
    return case.rpartition("::")[2].removeprefix("test_")


def _until_end(events: Iterator[dict[str, Any]]) -> str | None:
    """Wait for the end of a case; return why it failed, or None."""
    why = None
    for event in events:
        why = event.get("why", why)
        if "ends" in event:
            break
    return why
