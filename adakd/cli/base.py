"""What several verbs use: the screen, and arguments that they share."""

from pathlib import Path
from typing import Annotated

import typer

from adakd.console import PlainConsole

console = PlainConsole()

SuiteName = Annotated[str, typer.Argument(help="A shipped suite, or the path of a suite file.")]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Override one setting, such as training.steps=100. May be repeated.",
    ),
]
RunFolder = Annotated[Path, typer.Argument(help="The folder of a run.")]


def run_folder(suite: str) -> Path:
    """Return the folder of a suite's run where none is given."""
    return Path("runs", suite.replace("/", "-"))


def print_report(file: Path) -> None:
    """Print the path of a report."""
    print_line(f"report: {file}")


def print_line(text: str) -> None:
    """Print a line as it is, to be copied whole."""
    console.print(text, soft_wrap=True, highlight=False)
