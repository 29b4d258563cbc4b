"""Do all that a suite asks for: for `adakd run`.

What trains and scores is imported once the suite has been checked: a mistake in it is told before.
"""

import shlex
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path

from adakd.config import Suite
from adakd.execution.inputs import check_inputs
from adakd.planning import plan
from adakd.progress import Progress, Silent

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


def run(suite: Suite, folder: Path, progress: Progress | None = None) -> Path:
    """Train, score, time, judge and report all that a suite asks for.

    What `folder` already holds is not done again: an interrupted run goes on where it stopped.

    Args:
        suite: from :func:`adakd.load_suite`.
        folder: gets the records, the models and the report.
        progress: receives every stage; silent by default.

    Returns:
        The path of ``report.html``.

    Raises:
        AdakdError: bad input, or another process at work in `folder`.
    """
    planned, progress = plan(suite), progress or Silent()
    panel = check_inputs(suite)

    from adakd.execution.finished import conclude, is_finished
    from adakd.judging.runner import check
    from adakd.store import Store, locked

    if panel:
        check(panel)  # before hours of training, not after
    if is_finished(planned, Store(folder)):  # no model is needed, nor torch
        with locked(folder):
            return conclude(planned, Store(folder), panel, progress)

    from adakd.execution.serial import run_plan
    from adakd.losses.dispatch import row_functions

    row_functions(suite.training.kernels)  # Triton that cannot run is an error now, not later
    return run_plan(planned, folder, panel, progress)
