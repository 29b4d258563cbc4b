"""Where a result comes from: versions, hardware, commit and command."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from adakd.adaptive.base import adaptive
from adakd.config import Suite
from adakd.config.hashing import digest
from adakd.divergences.base import divergence
from adakd.planning import Plan
from adakd.policies.base import policy
from adakd.registry import Registry, Spec
from adakd.store.records import PartRecord, RunRecord

PACKAGES = (
    "adakd",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "lm_eval",
    "nltk",
    "rapidfuzz",
)


def run_record(plan: Plan) -> RunRecord:
    """Return the record that this process begins with."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    content = plan.suite.model_dump(mode="json")
    return RunRecord(
        key=digest("run", started, os.getpid()),
        started=started,
        command=" ".join(["adakd", *sys.argv[1:]]),
        suite=content,
        suite_digest=digest(content),
        parts=tuple(part_records(plan.suite)),
        wanted=plan.keys,
        versions=versions(),
        hardware=hardware(),
        commit=commit(),
    )


def part_records(suite: Suite) -> Iterator[PartRecord]:
    """Yield the parts of a suite's rows and arms, defaults filled in."""

    def record(of: str, registry: Registry[Any], spec: Spec) -> PartRecord:
        settings = {
            key: str(value) if isinstance(value, Spec) else value
            for key, value in registry.resolve(spec).items()
        }
        sort, name = registry.kind, spec.name
        return PartRecord(of=of, sort=sort, name=name, settings=settings, ours=registry.ours(name))

    for baseline in suite.divergences:
        yield record(str(baseline), divergence, baseline.divergence)
        yield record(str(baseline), policy, baseline.policy)
    for arm, spec in suite.arms.items():
        yield record(arm, adaptive, spec)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result."""
    found = {name.replace("_", "-"): version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def hardware() -> dict[str, str]:
    """Return what the machine is; not its name."""
    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory_total() / 2**30:.0f} GiB",
    }
    if torch.cuda.is_available():
        found["gpu"] = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return found


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def commit() -> str | None:
    """Return the commit that adakd runs from, marked if files differ; None when installed."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
        return done.stdout.strip()

    try:
        if not git("ls-files", "--error-unmatch", Path(__file__).name):
            return None  # an installed copy, inside somebody else's repository or none
        return git("rev-parse", "HEAD") + (" (modified)" if git("status", "--porcelain") else "")
    except FileNotFoundError:
        return None


def memory_total() -> int:
    """Return the bytes of memory of this machine."""
    return int(psutil.virtual_memory().total)
