"""The command line: parses arguments and prints; every verb is a Python function too."""

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adakd.errors import AdakdError
from adakd.loading import load_suite
from adakd.planning import Cell, Plan
from adakd.planning import plan as make_plan
from adakd.progress import Live

app = typer.Typer(
    help="Benchmark knowledge distillation: every divergence with and without AdaKD, fairly.",
    epilog="Start with: adakd run   (the suite `smoke`: no download, about three minutes)",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
console = Console()

SuiteName = Annotated[str, typer.Argument(help="A shipped suite or the path of a suite file.")]
Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="FIELD=VALUE", help="Override one field; may be repeated."),
]
RunFolder = Annotated[Path, typer.Argument(help="The folder of a run.")]


def main() -> None:
    """Run the command line; bad input is one message and exit code 2."""
    _quiet()
    try:
        app()
    except AdakdError as error:
        print(f"adakd: {error}", file=sys.stderr)
        sys.exit(2)


def _quiet() -> None:
    """Keep the libraries' chatter away from a first run; errors stay."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("LMEVAL_LOG_LEVEL", "ERROR")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


@app.command()
def run(
    suite: SuiteName = "smoke",
    out: Annotated[
        Path | None, typer.Option(help="The run folder; runs/SUITE if not given.")
    ] = None,
    overrides: Overrides = [],  # noqa: B006  # Typer reads the default, nobody changes it
) -> None:
    """Train, score, time, judge and report a suite; the same command continues a broken run.

    Example: adakd run smollm2-dolly --set data.folder=my/data --set training.steps=50
    """
    from adakd.reporting import summary_table
    from adakd.results import Store
    from adakd.running import run as run_suite

    loaded = load_suite(suite, overrides)
    folder = out or Path("runs", loaded.name.replace("/", "-"))
    report = run_suite(loaded, folder, Live(console))
    console.print(summary_table(Store(folder)))
    console.print(f"report: {report}", soft_wrap=True, highlight=False)


@app.command()
def plan(
    suite: SuiteName = "smoke",
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Show what a run would train and score; runs nothing and answers at once."""
    planned = make_plan(load_suite(suite, overrides))
    console.print(f"[bold]{planned.suite.name}[/bold]: {escape(planned.suite.description)}")
    console.print(_cells(planned))
    students = [cell for cell in planned.cells if cell.role != "teacher"]
    tasks = dict.fromkeys(job.task for job in planned.jobs)
    samplings = {job.sampling_seed for job in planned.jobs} - {None}
    how = f"sampled with {len(samplings)} seeds" if samplings else "decoded greedily"
    console.print(f"{len(students)} students, {len(planned.jobs)} scores in all")
    console.print(f"scored on: {', '.join(tasks)} (answers {how})")
    console.print(f"judged by: {', '.join(planned.suite.judges) or 'nobody'}")


def _cells(planned: Plan) -> Table:
    """Return a row for each method: its cells differ in the seed alone."""
    table = Table("method", "seeds", "steps", "tokens at most", "scores")
    methods: dict[str, list[Cell]] = {}
    for cell in planned.cells:
        methods.setdefault(cell.method, []).append(cell)
    for method, cells in methods.items():
        steps, tokens = planned.length(cells[0])
        seeds = " ".join(str(cell.seed) for cell in cells)
        scores = sum(job.cell == cells[0] for job in planned.jobs)
        table.add_row(escape(method), seeds, _count(steps), _count(tokens), str(scores))
    table.caption = "steps, tokens and scores of each seed"
    return table


def _count(number: int | None) -> str:
    return "by rows" if number is None else f"{number:,}"


@app.command()
def judge(
    folder: RunFolder,
    judge: Annotated[str, typer.Option(help="A shipped judge or the path of a judge file.")],
    against: Annotated[
        str,
        typer.Option(
            help="plain: every adaptive arm against its plain twin. Or reference, teacher, sft, "
            "untrained, or a method such as reverse_kl: every student against that."
        ),
    ] = "plain",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Items of each set to judge; all if not given.")
    ] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Ask a judge which answers are better, then make the report again.

    Example: adakd judge runs/smoke --judge openai --set model=gpt-5-mini
    """
    from adakd.running import judge as judge_run

    report = judge_run(folder, judge, against, limit, overrides, Live(console))
    console.print(f"report: {report}", soft_wrap=True, highlight=False)


@app.command()
def report(folder: RunFolder) -> None:
    """Make report.html again, from the stored records alone."""
    from adakd.reporting import write_report

    console.print(f"report: {write_report(folder)}", soft_wrap=True, highlight=False)


@app.command("ls")
def list_(
    kind: Annotated[str, typer.Argument(help="divergences, adaptive, suites, judges or tasks")],
    include: Annotated[
        Path | None, typer.Option(help="tasks: a folder of lm-eval task files of your own.")
    ] = None,
) -> None:
    """List what can be named in a suite, with the settings that each part takes."""
    from adakd.listing import listing

    table = Table.grid(padding=(0, 3))
    for row in listing(kind, include):
        table.add_row(f"[bold]{row.name}[/bold]", escape(row.settings), escape(row.summary))
    console.print(table)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="divergence, suite or judge")],
    name: Annotated[str, typer.Argument(help="The name; the file is made in this folder.")],
) -> None:
    """Start a divergence, suite or judge of your own from a file that works as it is."""
    from adakd.scaffold import new as make

    console.print(f"made {make(kind, name, Path())}")


check = typer.Typer(help="Check a plug-in.", no_args_is_help=True)
app.add_typer(check, name="check")


@check.callback()
def _check() -> None:
    """Check a plug-in against the laws of its kind."""


@check.command("divergence")
def check_divergence(
    name: Annotated[str, typer.Argument(help="A registered name or the path of a plug-in file.")],
) -> None:
    """Run the laws of a divergence: shape, sign, zero at equality, gradient, precision, masks."""
    from adakd.checking import check_divergence as run_laws

    broken = 0
    for divergence, results in run_laws(name).items():
        console.print(f"[bold]{divergence}[/bold]")
        for law in results:
            broken += not law.ok
            mark = "[green]holds [/green]" if law.ok else "[red]broken[/red]"
            console.print(f"  {mark}  {law.name}  [dim]{law.detail}[/dim]", highlight=False)
    if broken:
        raise typer.Exit(1)
