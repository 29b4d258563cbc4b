"""Ray does the units: on all cores or GPUs of this machine, or of a cluster.

This process owns the run: it hands out units, and adds what the workers leave in the units' own
folders. A worker is an actor that keeps its models from one unit to the next. One that is lost
loses at most the steps since its last checkpoint: another goes on from there.
"""

import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from adakd import interrupts
from adakd.errors import AdakdError, one_line
from adakd.execution.owner import Owner
from adakd.execution.places import THREADS, Node, Place, capacity, place_of
from adakd.execution.ray_worker import RayWorker
from adakd.execution.relay import EVERY, Screen
from adakd.execution.remaining import is_done
from adakd.execution.workers import known
from adakd.planning.units import KINDS, Unit
from adakd.progress import Progress
from adakd.store.provenance import versions
from adakd.store.unit_files import take_in

PATIENCE = 600.0
"""Seconds that the nodes of a cluster may take to join."""
RETRIES = 3
"""How often a unit whose worker is lost goes on with another."""
ENVIRONMENT = (
    "HF_DATASETS_DISABLE_PROGRESS_BARS", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS",
    "HF_HUB_OFFLINE", "LMEVAL_LOG_LEVEL", "TOKENIZERS_PARALLELISM", "TQDM_DISABLE",
    "TRANSFORMERS_VERBOSITY",
)  # fmt: skip
"""Variables that the workers of a cluster get from this process."""


class OnRay:
    """The engine of ``--on ray``.

    Args:
        address: of a cluster, ``auto`` for the one that this machine is part of; None starts Ray
            on this machine for the time of the run.
    """

    threads = THREADS
    """Threads of PyTorch in a unit whose ``cpus`` the suite leaves open."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address

    def __call__(self, owner: Owner, progress: Progress) -> None:
        """Do all units of a run that are left.

        Raises:
            AdakdError: bad input, no cluster, or a unit that lost its worker again and again.
        """
        if owner.left:
            with _started(self.address, progress):
                pool = _Pool(owner, progress, 0.0 if self.address is None else PATIENCE)
                try:
                    pool.work()
                finally:
                    pool.screen.drop()


@contextmanager
def _started(address: str | None, progress: Progress) -> Iterator[None]:
    """Connect to a cluster, or start Ray here; a loaded machine may be too slow the first time."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        os.environ.setdefault("RAY_worker_niceness", "0")  # else far behind all other processes
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        options["address"] = "local"  # not any other cluster that is found here
        options |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": 1 << 27}
    else:
        passed = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        options |= {"address": address, "runtime_env": {"env_vars": passed}}
    try:
        with interrupts.kept():
            _connect(address, options, progress)
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None, options: dict[str, Any], progress: Progress) -> None:
    try:
        ray.init(**options)
    except Exception as error:
        ray.shutdown()
        if isinstance(error, ConnectionError) or address is not None:
            raise AdakdError(
                f"--on ray:{address}: no Ray cluster answers there ({one_line(error)}); start it "
                "by `ray start`, or use --on ray for this machine alone"
            ) from None
        progress.note(f"Ray did not start ({one_line(error)}); trying once more", "yellow")
        ray.init(**options)


class _Pool:
    """The workers of a run and what they do."""

    def __init__(self, owner: Owner, progress: Progress, patience: float) -> None:
        self.until = time.monotonic() + patience
        self.owner, self.progress = owner, progress
        self.idle: dict[Place, list[Any]] = defaultdict(list)
        self.starting: dict[Any, tuple[Place, Any]] = {}
        """Workers by the reference of their first answer."""
        self.busy: dict[Any, tuple[Unit, Place, Any]] = {}
        self.lost: Counter[str] = Counter()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.reports = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self.screen = Screen(progress)
        self.plan, self.folder = ray.put(owner.plan), owner.folder.resolve()

    def work(self) -> None:
        """Do all units."""
        while self.owner.left:
            self._assign()
            done = self._wait()
            interrupts.check()
            self._show()
            for reference in done:
                if reference in self.busy:
                    self._take(reference)
                else:
                    self._greet(reference)

    def _wait(self) -> list[Any]:
        """Return the references that have come to something, after a moment at the latest."""
        if not self.busy and not self.starting:  # no node has room yet
            time.sleep(EVERY)
            return []
        done: list[Any] = ray.wait([*self.busy, *self.starting], timeout=EVERY / 2)[0]
        return done

    def _show(self) -> None:
        self.screen.update(self.reports.get_nowait_batch(self.reports.qsize()))

    def _assign(self) -> None:
        """Give units to idle workers, and start or end workers where that helps."""
        waiting: Counter[Place] = Counter()
        nodes = [Node(node["NodeID"], node["Resources"]) for node in ray.nodes() if node["Alive"]]
        for unit in sorted(self.owner.ready, key=lambda unit: KINDS.index(unit.kind)):
            place = self._place_of(unit, nodes)
            if place is None:
                continue
            if self.idle[place]:
                self.owner.ready.remove(unit)
                worker = self.idle[place].pop()
                builds_on = known(unit, self.owner.plan, self.owner.store)
                self.busy[worker.do.remote(unit, builds_on)] = unit, place, worker
            else:
                waiting[place] += 1
        for place in [place for place in self.idle if waiting and not waiting[place]]:
            for worker in self.idle.pop(place):
                ray.kill(worker)
        at_work = Counter(place for _, place, _ in self.busy.values())
        begun = Counter(place for place, _ in self.starting.values())
        for place, count in waiting.items():
            room = capacity(place, nodes) - at_work[place] - begun[place]
            for _ in range(min(count - begun[place], room)):
                self._start(place)

    def _place_of(self, unit: Unit, nodes: list[Node]) -> Place | None:
        """Return what a worker has; None while the nodes of a cluster are still coming."""
        try:
            return place_of(unit, nodes)
        except AdakdError:
            if self.busy or self.starting or time.monotonic() < self.until:
                return None
            raise

    def _start(self, place: Place) -> None:
        options: dict[str, Any] = {"num_gpus": place.gpus, "num_cpus": place.cpus}
        if place.memory:
            options["memory"] = place.memory * 1e9
        if place.node is not None:
            affinity = NodeAffinitySchedulingStrategy(place.node, soft=False)
            options["scheduling_strategy"] = affinity
        worker = ray.remote(RayWorker).options(**options).remote(place, self.reports)
        self.starting[worker.greet.remote(self.folder, os.getcwd())] = place, worker

    def _greet(self, reference: Any) -> None:
        """Admit a worker that has started."""
        place, worker = self.starting.pop(reference)
        try:
            theirs, sees_run = ray.get(reference)
        except RayError as error:
            self.lost["start"] += 1
            if self.lost["start"] > RETRIES:
                raise AdakdError(f"--on ray: workers do not start: {_why(error)}") from None
            return
        if not sees_run:
            raise AdakdError(
                f"--on ray: a node does not see {self.folder}: choose an --out folder on storage "
                "that all nodes have at the same path"
            )
        ours = versions()
        for name in ours:
            if theirs.get(name) != ours[name]:
                raise AdakdError(
                    f"--on ray: a node has {name} {theirs.get(name)}, this process "
                    f"{ours[name]}: install the same version on all nodes"
                )
        worker.open.remote(self.plan, self.folder)
        self.idle[place].append(worker)

    def _take(self, reference: Any) -> None:
        """Take in a unit that is done, or hand it out again if its worker is lost."""
        unit, place, worker = self.busy.pop(reference)
        try:
            failure = ray.get(reference)
        except RayActorError as error:
            ray.kill(worker)  # it may be cut off, and still at work
            self.screen.drop(unit.key)
            self.lost[unit.key] += 1
            if self.lost[unit.key] > RETRIES:
                raise AdakdError(
                    f"{unit.title}: its worker was lost {RETRIES + 1} times: {_why(error)}; "
                    "if memory is short, raise resources.*.cpus or .memory, so that fewer units "
                    "share a node"
                ) from None
            text = f"{unit.title}: its worker is lost; another goes on from the last checkpoint"
            self.progress.note(text, "yellow")
            self.owner.ready.insert(0, unit)
            return
        self._show()
        self.screen.close(unit.key)
        if failure is not None:
            raise AdakdError(failure)
        take_in(self.owner.store, unit.key)
        if not is_done(unit, self.owner.store):
            raise AdakdError(
                f"{unit.title}: done, but its records are not in {self.folder}: choose an --out "
                "folder on storage that all nodes share"
            )
        self.idle[place].append(worker)
        self.owner.finish(unit)


def _why(error: RayError) -> str:
    """Return the last line of an error, which names the cause, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()[-1]
