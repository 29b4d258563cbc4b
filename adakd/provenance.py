"""Where a result comes from: versions, hardware, commit and command."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from adakd.planning import Plan, digest
from adakd.records import RunRecord
from adakd.training.phases import memory_total

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
        wanted=plan.keys,
        versions=versions(),
        hardware=hardware(),
        commit=commit(),
    )


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
