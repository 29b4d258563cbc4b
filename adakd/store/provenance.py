"""Provenance of a result: versions, hardware, commit and command."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from adakd.adaptive.base import adaptive
from adakd.bridges.base import bridge
from adakd.config import Suite
from adakd.config.hashing import digest
from adakd.divergences.base import divergence
from adakd.metrics import Display, metric
from adakd.metrics.lm_eval import CHOICE, CHOICE_DISPLAY, lm_eval_title
from adakd.planning import Plan
from adakd.planning.keys import suite_digest
from adakd.policies.base import policy
from adakd.registry import Registry, Spec
from adakd.store.records import PartRecord, RunRecord, Sort, TaskRecord

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


def run_record(plan: Plan, threads: int | None = None) -> RunRecord:
    """Return the run record of this process.

    Args:
        plan: of the run.
        threads: of PyTorch in each unit; as many as in this process if None.
    """
    threads = torch.get_num_threads() if threads is None else threads
    started = datetime.now(UTC).isoformat(timespec="seconds")
    content = plan.suite.model_dump(mode="json")
    return RunRecord(
        key=digest("run", started, os.getpid()),
        started=started,
        command=" ".join(["adakd", *sys.argv[1:]]),
        suite=content,
        suite_digest=suite_digest(plan.suite),
        parts=tuple(part_records(plan.suite)),
        cells=plan.cells,
        tasks=tuple(task_records(plan.suite)),
        wanted=plan.keys,
        versions=versions(),
        hardware={**hardware(), "threads": str(threads)},
        commit=commit(),
    )


def part_records(suite: Suite) -> Iterator[PartRecord]:
    """Yield the parts of a suite's rows, arms and metrics, defaults filled in."""

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
        if (crossed := suite.bridge_of(baseline)) is not None:
            yield record(str(baseline), bridge, crossed)
    for arm, spec in suite.arms.items():
        yield record(arm, adaptive, spec)
    for spec in suite.evaluation.metrics:
        yield record(metric.display(spec.name).title, metric, spec)


def task_records(suite: Suite) -> Iterator[TaskRecord]:
    """Yield the columns of a suite's tables; for sets, those of the first metric first."""
    evaluation = suite.evaluation
    for spec in evaluation.metrics:
        for name in evaluation.sets:
            yield _task_record(name, "answers", spec.name, metric.display(spec.name))
    for choice in evaluation.choices:
        yield _task_record(choice.name, "choice", CHOICE, CHOICE_DISPLAY)
    for task in evaluation.tasks:
        # scale and direction are known with the first score: lm-eval is not asked before
        shown = Display(lm_eval_title(task.metric or ""))
        yield _task_record(task.name, "task", task.metric or "", shown)


def _task_record(name: str, sort: Sort, metric_name: str, shown: Display) -> TaskRecord:
    return TaskRecord(name=name, sort=sort, metric=metric_name, **asdict(shown))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect results."""
    found = {name.replace("_", "-"): version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def hardware() -> dict[str, str]:
    """Return a description of the machine, without its name."""
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
    """Return the commit of this checkout, marked if files differ; None for an installed copy."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
        return done.stdout.strip()

    try:
        if not git("ls-files", "--error-unmatch", Path(__file__).name):
            return None  # an installed copy, in another repository or in none
        return git("rev-parse", "HEAD") + (" (modified)" if git("status", "--porcelain") else "")
    except FileNotFoundError:
        return None


def memory_total() -> int:
    """Return the memory of this machine in bytes."""
    return int(psutil.virtual_memory().total)
