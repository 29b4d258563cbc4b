"""The command line: parses arguments and prints. Every verb is a Python function too."""

import errno
import gc
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import typer
import typer.core

from adakd.cli import extensions, judgements, runs, sharing
from adakd.cli.base import console
from adakd.console import printable
from adakd.errors import AdakdError
from adakd.interrupts import exit_code, heeded

__all__ = ["STOPPED", "app", "console", "main"]

STOPPED = "stopped; finished work is kept, and the same command goes on from there"
_EXTEND = "Find, extend and check"
_OF_RUNS = (runs.run, runs.plan, runs.work, runs.report, runs.export, runs.bench, runs.doctor)
_VERBS: dict[str, tuple[Callable[..., None], ...]] = {
    "Train and compare": _OF_RUNS,
    "Judge answers": (judgements.judge,),
    "Take together and share": (sharing.merge, sharing.compare, sharing.push),
    _EXTEND: (extensions.ls, extensions.new),
}
"""The functions of the verbs, by the panels of the help."""
_NO_OUTPUT = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
"""Why a terminal or a file that is printed to takes no more."""


class _Group(typer.core.TyperGroup):
    """The verbs; an interruption is one line, and the end of a file no interruption."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print(f"adakd: {STOPPED}", file=sys.stderr)
            raise typer.Exit(exit_code()) from None
        except EOFError as error:  # which Click takes for a closed terminal
            raise RuntimeError(f"unexpected end of a file: {error}") from error


app = typer.Typer(
    cls=_Group,
    help="""Benchmark knowledge distillation of language models, with and without AdaKD.

    Start with `adakd run`: a minute, nothing to download. Then `adakd ls suites` shows what
    else there is, and `adakd new suite NAME` starts a comparison of your own.
    """,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

for _panel, _verbs in _VERBS.items():
    for _verb in _verbs:
        app.command(rich_help_panel=_panel)(_verb)
app.add_typer(extensions.check, name="check", rich_help_panel=_EXTEND)


def main() -> None:
    """Run the command line; bad input is one message and exit code 2.

    So is a file that cannot be read or written. Ctrl-C ends with exit code 130, SIGTERM with 143.
    """
    _quiet()
    try:
        try:
            with heeded():
                app()
        finally:
            sys.stdout.flush()  # now, and not when Python ends
            gc.freeze()  # nor is what the libraries hold looked through again at the end
    except AdakdError as error:
        _fail(str(error))
    except OSError as error:
        if error.filename is None and error.errno not in _NO_OUTPUT:
            raise
        if error.filename is None:  # what could not be printed is not tried again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = error.filename or "the output"
        _fail(f"{where}: {error.strerror}; fix this and run the same command again")


def _fail(message: str) -> NoReturn:
    """Print a message as one line and end with exit code 2."""
    print(f"adakd: {printable(message)}", file=sys.stderr)
    sys.exit(2)


def _quiet() -> None:
    """Silence the libraries' progress bars and warnings; errors stay."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("LMEVAL_LOG_LEVEL", "ERROR")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
