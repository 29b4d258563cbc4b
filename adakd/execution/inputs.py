"""Checks of what a suite and a command name, before a plan is shown or run. Imports no torch."""

import os
import re
from importlib.util import find_spec

from adakd.config import Suite
from adakd.errors import AdakdError
from adakd.judging import Panel, load_panel


def check_inputs(suite: Suite) -> Panel | None:
    """Return the judges of a suite, if any, and check that its folder of tasks exists.

    Raises:
        AdakdError: an unknown judge, an invalid judge file, or no such folder.
    """
    folder = suite.evaluation.include_path
    if folder is not None and not folder.is_dir():
        raise AdakdError(
            f"evaluation.include_path: no folder {folder}; give the folder of your lm-eval task "
            "files, or leave it out"
        )
    return load_panel(suite.judges) if suite.judges else None


LAUNCHED = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
"""Variables by which torchrun, accelerate, MPI and srun tell how many processes they have started.
"""
ACCELERATE = "ACCELERATE_USE_CPU"
"""Set by ``accelerate launch`` alone, also where it starts one process."""


def check_engine(on: str | None) -> None:
    """Check the value of ``--on``.

    Raises:
        AdakdError: no such engine, or its package is missing.
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


def check_launcher() -> None:
    """Check that this process was started by itself: a run has one owner.

    Raises:
        AdakdError: a launcher has started it, perhaps several times.
    """
    counts = [os.environ.get(name, "1") for name in LAUNCHED]
    several = max((int(count) for count in counts if count.isdecimal()), default=1)
    if several > 1 or ACCELERATE in os.environ:
        times = f"{several} times " if several > 1 else ""
        raise AdakdError(
            f"adakd run was started {times}by a launcher (torchrun, accelerate launch, mpirun or "
            "srun), and one run needs one process: start it by itself; add --on ray to use several "
            "GPUs or machines"
        )
