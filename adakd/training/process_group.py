"""One training by several processes, each with a GPU of its own or with a part of the cores.

The process that asks for it trains nothing: it starts the others, takes what the first of them has
to tell, and ends all of them if one fails. So their failure is no failure of the run's owner, and
nobody waits for a process that is gone.
"""

import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, NamedTuple

import torch
from torch import distributed

from adakd import interrupts
from adakd.errors import AdakdError
from adakd.models import loading
from adakd.planning import Assignment, Plan
from adakd.progress import Silent
from adakd.registry import load_plugins
from adakd.store.records import TeacherStatesRecord, TrainingRecord
from adakd.training.allocator import keep_freed_memory
from adakd.training.context import RunContext
from adakd.training.fitting import Finish, Keep, Note, train
from adakd.training.sequences import TrainingData
from adakd.training.teacher_states import TeacherStates
from adakd.training.trainer import OnStep

EVERY = 0.5
"""Seconds between two looks at the processes, and at the signals of this one."""
GRACE = 5.0
"""Seconds for which others may still fail: the failure that is told first need not be the cause."""


class Listener(NamedTuple):
    """Takes what a training tells, as the arguments of :func:`~adakd.training.fitting.train`."""

    on_step: OnStep = lambda _: None
    keep: Keep = lambda _: None
    note: Note = lambda _: None
    finish: Finish = lambda _: None


UNUSED = "Expected to have finished reduction in the prior iteration"
"""How DistributedDataParallel begins to tell of a parameter without a gradient."""
AWAITED = ("keep", "finish")
"""What the training waits for: whoever is killed then loses no record."""


@dataclass(frozen=True)
class SharedTraining:
    """What each process needs to know; the teacher's outputs are stored before."""

    plan: Plan
    folder: Path
    """Of the run."""
    assignment: Assignment
    saved: Mapping[str, Mapping[str, str]]
    """The hashes of the files of finished models, by the keys of their cells."""
    teaching: TeacherStatesRecord | None = None
    """How the teacher's outputs were obtained for earlier students of the run."""

    @property
    def devices(self) -> int:
        """The number of processes."""
        assert self.assignment.training is not None
        return self.assignment.training.devices


def train_together(shared: SharedTraining, listener: Listener) -> TrainingRecord:
    """Train a cell by several processes, from its last checkpoint, and return its record.

    Args:
        shared: the training.
        listener: takes what the first process tells.

    Raises:
        AdakdError: what :func:`~adakd.training.fitting.train` raises; or there are too few GPUs, or
            a process was killed.
        RuntimeError: a process failed otherwise; the message is its traceback.
    """
    _check_gpus(shared)
    with _started(shared) as (processes, channels):
        heard = _Heard(shared, processes, channels)
        while heard.record is None:
            interrupts.check()
            heard.pass_on(listener)
            heard.check()
        return heard.record


def _check_gpus(shared: SharedTraining) -> None:
    """Check that there is a GPU for each process, where there is one at all, and make room there.

    Raises:
        AdakdError: there are too few.
    """
    has = torch.accelerator.device_count() if torch.accelerator.is_available() else None
    if has is not None and has < shared.devices:
        section = "teacher.sft" if shared.assignment.cell.role == "teacher" else "training"
        raise AdakdError(
            f"{section}.devices: {shared.devices}, and only {has} of them can be used here: lower "
            "it, or work where there are more"
        )
    if has:
        torch.get_device_module().empty_cache()


@contextmanager
def _started(shared: SharedTraining) -> Iterator[tuple[list[BaseProcess], list[Connection]]]:
    """Start the processes, each with a channel from it, and end them with the block."""
    spawn, processes, channels = get_context("spawn"), list[BaseProcess](), list[Connection]()
    threads = max(1, torch.get_num_threads() // shared.devices)
    with TemporaryDirectory() as place:
        try:
            for number in range(shared.devices):
                ours, theirs = spawn.Pipe()
                given = shared, number, threads, Path(place, "meeting"), theirs
                member = spawn.Process(target=_join, args=given, daemon=True)
                member.start()
                theirs.close()  # so that ours ends with the process
                processes.append(member)
                channels.append(ours)
            yield processes, channels
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.join()


class _Heard:
    """What the processes have told."""

    def __init__(
        self,
        shared: SharedTraining,
        processes: Sequence[BaseProcess],
        channels: Sequence[Connection],
    ) -> None:
        self.shared, self.processes = shared, processes
        self.channels: list[Any] = list(channels)
        """Of the processes that may still tell something."""
        self.record: TrainingRecord | None = None
        self.crashes: list[str] = []
        self.patience = float("inf")
        """When waiting for more failures ends."""

    def pass_on(self, listener: Listener) -> None:
        """Pass on what has come, after a moment at the latest.

        Raises:
            AdakdError: a process has met one.
        """
        for channel in wait(self.channels, timeout=EVERY):
            assert isinstance(channel, Connection)
            try:
                what, *given = channel.recv()
            except (EOFError, OSError):
                what, given = "lost", []
            if what == "error":
                raise AdakdError(given[0])
            if what in ("done", "crash", "lost"):
                self.channels.remove(channel)
            if what == "done":
                self.record = self.record or given[0]
            elif what in ("crash", "lost"):
                self.crashes += given
                self.patience = min(self.patience, monotonic() + GRACE)
            else:
                getattr(listener, what)(*given)
                if what in AWAITED:
                    with suppress(OSError):  # it is gone, which the next look shows
                        channel.send(None)

    def check(self) -> None:
        """Check that all are at work.

        Raises:
            AdakdError: one was killed, or ended by itself.
            RuntimeError: one has failed.
        """
        if self.patience == float("inf") or (self.channels and monotonic() < self.patience):
            return
        for process in self.processes:
            process.join(timeout=EVERY)
        of = f"{self.shared.assignment.cell}: one of the {self.shared.devices} processes that train"
        for process in self.processes:
            if (code := process.exitcode or 0) < 0:
                raise AdakdError(
                    f"{of} it was killed ({signal.Signals(-code).name}), perhaps for lack of "
                    "memory: run the same command again, and it goes on from the last checkpoint"
                )
        if self.crashes:
            raise RuntimeError(f"{of} it has failed:\n{self.crashes[0]}")
        raise AdakdError(
            f"{of} it has ended: what it printed says why; a Python script needs "
            "`if __name__ == '__main__':` before what it runs"
        )


# --- a process that trains ------------------------------------------------------------------


def _join(
    shared: SharedTraining, number: int, threads: int, meeting: Path, channel: Connection
) -> None:
    """Train as one of the processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that asked
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if number:  # once is enough
        logging.disable(logging.WARNING)
    try:
        meet(number, shared.devices, threads, meeting)
        record = _trained(shared, _teller(channel) if number == 0 else Listener())
        distributed.destroy_process_group()
        channel.send(("done", record if number == 0 else None))
    except AdakdError as error:
        channel.send(("error", str(error)))
    except Exception as error:
        if UNUSED in str(error):
            channel.send(("error", f"{shared.assignment.cell}: {_NO_GRADIENT}"))
        else:
            channel.send(("crash", traceback.format_exc()))


_NO_GRADIENT = (
    "a parameter of the model has no gradient in some step, as an expert has that no token chose: "
    "such a model is trained on one device, set devices to 1"
)


def _end_with_parent() -> None:
    """End once the process that asked is gone, whatever this one waits for."""
    asked = parent_process()
    if asked is not None:
        asked.join()
        os._exit(1)


def meet(number: int, devices: int, threads: int, meeting: Path) -> None:
    """Join a group of processes that train together, on a device of its own.

    Args:
        number: of this process, from 0.
        devices: number of processes.
        threads: of PyTorch in this one.
        meeting: a file that all can write, and that does not exist yet.
    """
    os.environ |= {  # as torchrun sets them, for accelerate
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(devices),
        "LOCAL_WORLD_SIZE": str(devices),
        "OMP_NUM_THREADS": str(threads),
    }
    torch.set_num_threads(threads)
    keep_freed_memory()
    device, own = loading.device(), None
    if device.type != "cpu":
        own = torch.device(device.type, number)
        torch.accelerator.set_device_index(number)
    distributed.init_process_group(
        distributed.get_default_backend_for_device(device),
        init_method=f"file://{meeting}",
        rank=number,
        world_size=devices,
        device_id=own,
    )


def _trained(shared: SharedTraining, listener: Listener) -> TrainingRecord:
    load_plugins(shared.plan.suite.plugins)
    context = RunContext(shared.plan, shared.folder)
    context.saved |= shared.saved
    data = TrainingData(context)
    teacher, resolved = TeacherStates(data), data.resolve(shared.assignment)
    if resolved.cell.has_teacher:
        teacher.prepare(resolved, shared.teaching, Silent())
    return train(resolved, data, teacher, *listener)


def _teller(channel: Connection) -> Listener:
    """Return a listener that tells the process that asked."""

    def tell(what: str) -> Callable[..., None]:
        def send(*given: Any) -> None:
            channel.send((what, *given))
            if what in AWAITED:
                channel.recv()

        return send

    return Listener(*map(tell, Listener._fields))
