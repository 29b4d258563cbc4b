"""The verbs of parts: list, make and check what a suite can name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adakd.cli.base import console

if TYPE_CHECKING:
    from adakd.losses.laws import LawResult


def ls(
    kind: Annotated[
        str,
        typer.Argument(
            help="divergences, bridges, policies, adaptive, metrics, suites, judges or tasks"
        ),
    ],
    include: Annotated[
        Path | None, typer.Option(help="tasks: a folder of lm-eval task files of your own.")
    ] = None,
) -> None:
    """List what a suite can name, with the settings that each part takes.

    Example: `adakd ls divergences`
    """
    from adakd.commands.ls import listing, listing_table

    console.print(listing_table(listing(kind, include)))


def new(
    kind: Annotated[
        str, typer.Argument(help="divergence, bridge, policy, metric, suite, judge or backend")
    ],
    name: Annotated[str, typer.Argument(help="The name; the file is made in this folder.")],
) -> None:
    """Write a file to start from, which works as it is.

    Example: `adakd new divergence my_loss`
    """
    from adakd.commands.new import new as make

    console.print(f"made {make(kind, name, Path())}")


check = typer.Typer(
    help="Check a plug-in against the laws of its kind.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@check.callback()
def _check() -> None:
    """Check a plug-in against the laws of its kind."""


@check.command("divergence")
def check_divergence(
    name: Annotated[str, typer.Argument(help="A registered name, or the path of a plug-in file.")],
) -> None:
    """Run the laws of a divergence: shape, sign, zero at equality, gradient, precision, masks.

    Example: `adakd check divergence my_loss.py`
    """
    from adakd.commands.check import check_divergence as run_laws

    _print_laws(run_laws(name))


@check.command("bridge")
def check_bridge(
    name: Annotated[str, typer.Argument(help="A registered name, or the path of a plug-in file.")],
) -> None:
    """Run the laws of a bridge: the text of its units, its distributions, gradient, any grouping.

    Example: `adakd check bridge my_bridge.py`
    """
    from adakd.commands.check import check_bridge as run_laws

    _print_laws(run_laws(name))


def _print_laws(results: "Mapping[str, Sequence[LawResult]]") -> None:
    from adakd.commands.check import law_lines

    for line in law_lines(results):
        console.print(line, highlight=False)
    if not all(law.ok for laws in results.values() for law in laws):
        raise typer.Exit(1)
