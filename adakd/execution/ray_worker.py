"""A process of a Ray cluster that does units."""

import os
from dataclasses import replace
from pathlib import Path

import torch
from ray.util.queue import Queue

from adakd.errors import AdakdError
from adakd.execution.places import Place
from adakd.execution.relay import Relay
from adakd.execution.remaining import is_done
from adakd.execution.workers import Known, Worker
from adakd.planning import Plan
from adakd.planning.units import Unit
from adakd.registry import load_plugins
from adakd.store.provenance import versions
from adakd.store.unit_files import claimed, unit_store
from adakd.training.allocator import keep_freed_memory
from adakd.training.context import RunContext

PATIENCE = 60.0
"""Seconds for which a unit may still be claimed by a worker that is being killed."""


class RayWorker:
    """Does units, one at a time; models are kept from one to the next.

    Args:
        place: what it has of its node.
        reports: takes the progress.
    """

    def __init__(self, place: Place, reports: Queue) -> None:
        if not place.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray may leave all in sight
        torch.set_num_threads(place.cpus)
        keep_freed_memory()
        self.reports = reports

    def greet(self, folder: Path, working: str) -> tuple[dict[str, str], bool]:
        """Return the versions here, and whether this node sees the run and the suite's files.

        Args:
            folder: of the run, at the same path on every node.
            working: the directory that the paths of a suite are relative to.
        """
        sees = (folder / "results.jsonl").exists() and os.path.isdir(working)
        if sees:
            os.chdir(working)
        return versions(), sees

    def open(self, plan: Plan, folder: Path) -> None:
        """Get ready for the units of a plan."""
        load_plugins(plan.suite.plugins)
        self.folder, self.worker = folder, Worker(RunContext(plan, folder))

    def do(self, unit: Unit, known: Known) -> str | None:
        """Do a unit, its records in its own folder; return an error that the user can fix."""
        try:
            with claimed(self.folder, unit.key, unit.title, PATIENCE):
                own = unit_store(self.folder, unit.key)
                if is_done(unit, own):  # and the worker was lost before it could say so
                    return None
                done = known.done.union(job.key for job in unit.jobs if job.key in own)
                relay = Relay(unit.key, self.reports.put)
                self.worker.do(unit, replace(known, done=done), own.add, relay)
        except AdakdError as error:
            return str(error)
        return None
