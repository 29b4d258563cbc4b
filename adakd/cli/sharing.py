"""The verbs that take runs together and share them: merge, compare, push."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from adakd.cli.base import RunFolder, console, print_line, print_report
from adakd.progress import Live


def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN_A RUN_B ...", help="The folders of the runs.")
    ],
    out: Annotated[Path, typer.Option(help="The folder of the merged run.", show_default=False)],
) -> None:
    """Unite runs of one suite whose cells were made on several machines.

    They may differ in what they compare: seeds, divergences, arms, students, sets, tasks, metrics
    and judges. The same key with another value is an error that names both machines. The runs are
    not changed.

    Example: `adakd merge runs/smoke runs/other --out runs/both`
    """
    from adakd.commands.merge import merge as unite

    print_line(str(unite(folders, out)))
    print_report(out / "report.html")
    suite = shlex.join(["adakd", "run", str(out / "suite.yaml"), "--out", str(out)])
    print_line(f"next, to train and score what the united suite still lacks: {suite}")


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="The folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="The folder of another.")],
    format: Annotated[
        str, typer.Option("--format", help="table, for the screen; markdown; or json.")
    ] = "table",
) -> None:
    """Hold the same cells of two runs against each other: two machines, versions or seeds.

    Each difference is held against the noise of training seeds; then follows what differs in
    versions, hardware and settings. The exit code is 0 whatever differs.

    Example: `adakd compare runs/laptop runs/server`
    """
    from adakd.commands.compare import compare as hold
    from adakd.commands.compare import compared

    found = compared(hold(first, second), format)
    if isinstance(found, str):
        print(found)
    else:
        console.print(found)


def push(
    folder: RunFolder,
    to: Annotated[
        str,
        typer.Option(
            metavar="USER/NAME",
            help="The repository of the records; each student gets USER/NAME-METHOD-seedN.",
            show_default=False,
        ),
    ],
    only: Annotated[
        list[str],
        typer.Option(help="Publish the students of this method alone. May be repeated."),
    ] = [],  # noqa: B006
    license: Annotated[
        str, typer.Option(help="The licence, by its name on the hub, such as apache-2.0.")
    ] = "unknown",
    base_model: Annotated[
        str | None,
        typer.Option(metavar="HUB-ID", help="The student's base, if the suite names a folder."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make private repositories.")] = False,
    dry_run: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write here what would be published, and stop."),
    ] = None,
) -> None:
    """Publish the students and the records of a run on the Hugging Face hub, with cards.

    Paths, secrets and private servers are taken out first. The token is read from HF_TOKEN.

    Example: `adakd push runs/smoke --to ada/smoke --dry-run public`
    """
    from adakd.commands.push import push as publish

    done = publish(folder, to, only, license, base_model, private, dry_run, progress=Live(console))
    for one in done:
        where = one.folder if dry_run is not None else f"{one.kind} {one.id}"
        print_line(f"{'would publish' if dry_run is not None else 'published'}: {where}")
    if license == "unknown":
        print_line("the cards state no licence; --license NAME does")
