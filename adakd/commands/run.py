"""Do all that a suite asks for: for `adakd run`.

What trains and scores is imported once the suite has been checked: a mistake in it is told before.
"""

import shlex
from collections.abc import Sequence
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from adakd.config import Suite
from adakd.execution.inputs import check_engine, check_inputs, check_launcher
from adakd.planning import plan
from adakd.progress import Progress, Silent
from adakd.store import Store, locked
from adakd.store.unit_files import UNITS, sweep

if TYPE_CHECKING:
    from adakd.execution.flow import Engine
    from adakd.execution.speeds import Pace

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


class Start:
    """A start of a run: the suite is planned and checked, as far as that needs no model.

    Args:
        suite: from :func:`adakd.load_suite`.
        folder: gets the records, the models and the report.
        on: who does the work: this process, ``ray`` for all of this machine, or ``ray:ADDRESS``
            for a cluster.

    Raises:
        AdakdError: bad input.
    """

    def __init__(self, suite: Suite, folder: Path, on: str | None = None) -> None:
        check_launcher()
        check_engine(on)
        self.plan, self.folder, self.on = plan(suite), folder, on
        self._panel = check_inputs(suite, on)

        from adakd.judging.runner import check

        if self._panel:
            check(self._panel)  # before hours of training, not after

    @cached_property
    def _store(self) -> Store:
        """The records, with what `adakd work` has left in the folder."""
        if not (self.folder / UNITS).is_dir():
            return Store(self.folder)
        with locked(self.folder):
            store = Store(self.folder)
            sweep(store)
        return store

    @cached_property
    def is_finished(self) -> bool:
        """Whether all is recorded, so that neither a model nor torch is needed."""
        from adakd.execution.finished import is_finished

        return is_finished(self.plan, self._store)

    def outlook(self) -> str:
        """Return one line of what is to be done, with its time if it is known or can be guessed.

        What `adakd work` has left in the folder counts as done.

        Raises:
            AdakdError: another process at work in the folder.
        """
        from adakd.execution.outlook import outlook

        return outlook(self.plan, self._store, self._guess)

    def _guess(self) -> "Pace | None":
        """Return the pace of this machine where it does the work: measured, so that needs torch."""
        if self.on is not None:
            return None

        from adakd.execution.probe import guessed

        return guessed(self.plan)

    def run(self, progress: Progress | None = None) -> Path:
        """Do what the folder lacks, and return the path of ``report.html``; see :func:`run`.

        Raises:
            AdakdError: bad input, or another process at work in the folder.
        """
        if self.is_finished:
            from adakd.execution.finished import conclude

            with locked(self.folder):
                store = Store(self.folder)
                return conclude(self.plan, store, self._panel, progress or Silent())

        from adakd.execution.flow import run_plan

        _check_kernels(self.plan.suite)
        engine = _engine(self.on)
        return run_plan(self.plan, self.folder, self._panel, engine, progress or Silent())

    def prepare(self, progress: Progress | None = None) -> None:
        """Check all that can fail before any work, and record the suite for `adakd work`.

        Takes in what units have left in the folder, as :meth:`run` does, and stops there.

        Args:
            progress: receives notes; silent by default.

        Raises:
            AdakdError: bad input, or another process at work in the folder.
        """
        from adakd.execution.flow import prepare_plan

        _check_kernels(self.plan.suite)
        prepare_plan(self.plan, self.folder, _engine(None).threads, progress or Silent())


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
    return Start(suite, folder, on).run(progress)


def _engine(on: str | None) -> "Engine":
    if on is None:
        from adakd.execution.serial import InThisProcess

        return InThisProcess()

    from adakd.execution.ray import OnRay

    return OnRay(on.partition(":")[2] or None)


def _check_kernels(suite: Suite) -> None:
    """Check that Triton can run where it is asked for: an error now, not later."""
    from adakd.losses.dispatch import row_functions

    row_functions(suite.training.kernels)
