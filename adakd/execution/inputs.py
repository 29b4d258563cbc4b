"""Checks of what a suite names, before a plan is shown or run. Imports no torch."""

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
