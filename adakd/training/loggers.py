"""The loggers of a training: checked before it, and kept apart from those of other trainings."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.integrations import integration_utils

from adakd.config import Training
from adakd.errors import AdakdError, one_line
from adakd.planning import Cell

SWITCHES = (["all"], ["none"])
"""Values of ``report_to`` that name no logger."""
_EVENTS = "TENSORBOARD_LOGGING_DIR"


def check_loggers(section: str, training: Training) -> None:
    """Start every logger of a training once, as transformers' Trainer will.

    Args:
        section: the section of the suite, such as ``teacher.sft``.
        training: its settings.

    Raises:
        AdakdError: a logger is unknown, or its package is missing.
    """
    names = list(training.report_to)
    if names in SWITCHES:
        return
    for name in names:
        try:
            callbacks = integration_utils.get_reporting_integration_callbacks([name])  # type: ignore[no-untyped-call]
            for callback in callbacks:
                callback()
        except Exception as error:  # each logger has exceptions of its own
            raise AdakdError(
                f"{section}.report_to: {name!r} cannot be used ({one_line(error)}); install its "
                "package, or leave it out"
            ) from None


@contextmanager
def logged(training: Training, folder: Path, suite: str, cell: Cell) -> Iterator[None]:
    """Give one training a place and a name of its own in its loggers.

    TensorBoard's events are in ``logs/METHOD-seedN`` of the run folder, since checkpoints, where
    transformers puts them, are removed; files of Weights & Biases are in the run folder, each
    training is a run of its own, and the project has the suite's name. Variables of the
    environment that say otherwise hold; in TENSORBOARD_LOGGING_DIR each training has a folder.

    Args:
        training: its settings.
        folder: of the run.
        suite: the name of the suite.
        cell: what is trained.

    Raises:
        AdakdError: a logger fails, as one without a key or a network does.
    """
    if not training.report_to:
        yield
        return
    place = re.sub(r"[^\w.=-]+", "-", f"{cell.method}-seed{cell.seed}").strip("-")
    events = Path(os.environ.get(_EVENTS) or folder.resolve() / "logs", place)
    ours = {
        "WANDB_PROJECT": re.sub(r"[/\\#?%:]", "-", suite),
        "WANDB_DIR": str(folder.resolve()),
        "WANDB_QUIET": "true",  # no summary on the screen after each training
    }
    before = {name: os.environ.get(name) for name in (_EVENTS, *ours)}
    os.environ |= {**ours, **os.environ, _EVENTS: str(events)}
    outer = _open_run()
    try:
        yield
    except Exception as error:
        logger = type(error).__module__.partition(".")[0]
        if logger not in training.report_to:
            raise
        section = "teacher.sft" if cell.role == "teacher" else "training"
        raise AdakdError(
            f"{section}.report_to: {logger} fails ({one_line(error)}); set it up, or leave it out "
            "and run the same command again: finished work is kept"
        ) from error
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if outer is None and _open_run() is not None:  # else the next training would go on in it
            sys.modules["wandb"].finish()


def _open_run() -> Any:
    """Return the open run of Weights & Biases in this process, if any."""
    return getattr(sys.modules.get("wandb"), "run", None)
