"""Checks of what a suite and a command name, before a plan is shown or run. Imports no torch."""

import os
import re
import socket
from collections.abc import Sequence
from importlib.util import find_spec

from adakd.config import Suite
from adakd.errors import AdakdError
from adakd.judging import Panel, load_panel
from adakd.planning.precision import gpus


def check_inputs(suite: Suite, on: str | None = None) -> Panel | None:
    """Return the judges of a suite, if any, and check that its folder of tasks and its GPUs exist.

    Args:
        suite: to be planned or run.
        on: who does the work, as of `adakd run`; the GPUs of a cluster are not known here.

    Raises:
        AdakdError: an unknown judge, an invalid judge file, no such folder, or fewer GPUs than
            share a training.
    """
    folder = suite.evaluation.include_path
    if folder is not None and not folder.is_dir():
        raise AdakdError(
            f"evaluation.include_path: no folder {folder}; give the folder of your lm-eval task "
            "files, or leave it out"
        )
    panel = load_panel(suite.judges) if suite.judges else None
    _check_devices(suite, on)
    return panel


def _check_devices(suite: Suite, on: str | None) -> None:
    """Check that this machine has as many GPUs as share a training, if it has any."""
    if on is not None and ":" in on:
        return
    for section, training in (("teacher.sft", suite.teacher.sft), ("training", suite.training)):
        if training is not None and training.devices > 1 and 0 < (has := gpus()) < training.devices:
            raise AdakdError(
                f"{section}.devices: {training.devices}, but this machine has {has} "
                f"GPU{'s' * (has > 1)}: lower it, or give --on ray:ADDRESS of a cluster that has "
                "more"
            )


LAUNCHED = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
"""Variables by which torchrun, accelerate, MPI and srun tell how many processes they have started.
"""
TORCHRUN = LAUNCHED[:1]
"""Those of launchers whose processes all do one and the same thing."""
ACCELERATE = "ACCELERATE_USE_CPU"
"""Set by ``accelerate launch`` alone, also where it starts one process."""

ANSWER = 10.0
"""Seconds in which a cluster must answer."""


def check_engine(on: str | None) -> None:
    """Check the value of ``--on``.

    Raises:
        AdakdError: no such engine, its package is missing, or no cluster answers at the address.
    """
    if on is None:
        return
    if not re.fullmatch(r"ray(:.+)?", on):
        raise AdakdError(
            f"--on: no engine {on!r}: use ray for all of this machine, or ray:ADDRESS for a "
            "cluster, such as ray:auto; leave it out to work in this process"
        )
    if find_spec("ray") is None:
        raise AdakdError("--on ray needs the package ray: pip install 'adakd[ray]'")
    if (found := re.fullmatch(r"ray:(?:ray://)?([^:/]+):(\d+)", on)) is None:
        return
    try:  # Ray itself tries for minutes
        socket.create_connection((found[1], int(found[2])), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        raise AdakdError(
            f"--on {on}: no Ray cluster answers there ({error}); start it by `ray start`, or use "
            "--on ray for this machine alone"
        ) from None


def check_launcher(verb: str = "run", names: Sequence[str] = LAUNCHED) -> None:
    """Check that this process was started by itself: a run or a unit has one owner.

    Args:
        verb: of the command line.
        names: variables that tell of several processes.

    Raises:
        AdakdError: a launcher has started it, perhaps several times.
    """
    counts = [os.environ.get(name, "1") for name in names]
    several = max((int(count) for count in counts if count.isdecimal()), default=1)
    if several > 1 or ACCELERATE in os.environ:
        times = f"{several} times " if several > 1 else ""
        raise AdakdError(
            f"adakd {verb} was started {times}by a launcher (torchrun, accelerate launch, mpirun "
            f"or srun), and one {'run' if verb == 'run' else 'unit'} needs one process: start it "
            "by itself; add --on ray to adakd run to use several GPUs or machines, or set "
            "training.devices to share one training between several GPUs"
        )
