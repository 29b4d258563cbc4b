"""Do all that a suite asks for: for `adakd run`.

What trains and scores is imported once the suite has been checked: a mistake in it is told before.
"""

import shlex
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from adakd.config import Suite
from adakd.execution.inputs import (
    check_devices,
    check_engine,
    check_inputs,
    check_launcher,
)
from adakd.judging import Panel
from adakd.planning import Plan, plan
from adakd.progress import Progress, Silent
from adakd.store import Store, locked
from adakd.store.unit_files import UNITS, sweep

if TYPE_CHECKING:
    from adakd.execution.flow import Engine

SEEDS = 5
"""Training seeds up to which a run is told to take more."""


def next_line(command: Sequence[str], overrides: Sequence[str], suite: Suite) -> str:
    """Return the command to go on with: more training seeds, or with five the other suites.

    Args:
        command: the verb, the suite and the folder, as they were given.
        overrides: those that were given; the new seeds replace earlier ones.
        suite: the suite with its overrides.
    """
    missing = SEEDS - len(suite.seeds)
    if missing <= 0:
        return "next, another comparison: adakd ls suites"
    fresh = islice((seed for seed in count(1) if seed not in suite.seeds), missing)
    seeds = f"seeds=[{','.join(map(str, (*suite.seeds, *fresh)))}]"
    kept = [override for override in overrides if not override.startswith("seeds=")]
    words = [word for override in (*kept, seeds) for word in ("--set", override)]
    return f"next, to find smaller differences: {shlex.join(['adakd', *command, *words])}"


def run(
    suite: Suite, folder: Path, progress: Progress | None = None, on: str | None = None
) -> Path:
    """Train, score, time, judge and report all that a suite asks for.

    What `folder` already holds is not done again: an interrupted run goes on where it stopped.

    Args:
        suite: from :func:`adakd.load_suite`.
        folder: gets the records, the models and the report.
        progress: receives every stage; silent by default.
        on: who does the work: this process, ``ray`` for all of this machine, or ``ray:ADDRESS``
            for a cluster.

    Returns:
        The path of ``report.html``.

    Raises:
        AdakdError: bad input, or another process at work in `folder`.
    """
    check_engine(on)
    planned, panel = _checked(suite, on)

    from adakd.execution.finished import conclude, is_finished

    if is_finished(planned, Store(folder)):  # no model is needed, nor torch
        with locked(folder):
            return conclude(planned, Store(folder), panel, progress or Silent())

    from adakd.execution.flow import run_plan

    _check_kernels(suite)
    return run_plan(planned, folder, panel, _engine(on), progress or Silent())


def take_in_units(folder: Path) -> None:
    """Add to a run what `adakd work` has left in its folder.

    Raises:
        AdakdError: another process at work in `folder`.
    """
    if (folder / UNITS).is_dir():
        with locked(folder):
            sweep(Store(folder))


def prepare(suite: Suite, folder: Path, progress: Progress | None = None) -> None:
    """Check all that can fail before any work, and record the suite for `adakd work`.

    Takes in what units have left in `folder`, as :func:`run` does at its start, and stops there.

    Args:
        suite: from :func:`adakd.load_suite`.
        folder: gets the record of the start and the tasks to score.
        progress: receives notes; silent by default.

    Raises:
        AdakdError: bad input, or another process at work in `folder`.
    """
    planned, _ = _checked(suite, None)

    from adakd.execution.flow import prepare_plan

    _check_kernels(suite)
    prepare_plan(planned, folder, _engine(None).threads, progress or Silent())


def _engine(on: str | None) -> "Engine":
    if on is None:
        from adakd.execution.serial import InThisProcess

        return InThisProcess()

    from adakd.execution.ray import OnRay

    return OnRay(on.partition(":")[2] or None)


def _checked(suite: Suite, on: str | None) -> tuple[Plan, Panel | None]:
    """Return the plan and the judges of a suite, checked as far as that needs no model."""
    check_launcher()
    planned = plan(suite)
    panel = check_inputs(suite)
    check_devices(suite, on)

    from adakd.judging.runner import check

    if panel:
        check(panel)  # before hours of training, not after
    return planned, panel


def _check_kernels(suite: Suite) -> None:
    """Check that Triton can run where it is asked for: an error now, not later."""
    from adakd.losses.dispatch import row_functions

    row_functions(suite.training.kernels)
