"""The command line: parses arguments and prints; every verb is a Python function too."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adakd.config.loading import load_suite
from adakd.errors import AdakdError
from adakd.planning import plan as make_plan
from adakd.progress import Live

if TYPE_CHECKING:
    pass

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
    from adakd.commands.run import run as run_suite
    from adakd.reporting import summary_table
    from adakd.store import Store

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
    from adakd.commands.plan import plan_table

    planned = make_plan(load_suite(suite, overrides))
    console.print(f"[bold]{planned.suite.name}[/bold]: {escape(planned.suite.description)}")
    console.print(plan_table(planned))
    students = [cell for cell in planned.cells if cell.role != "teacher"]
    tasks = dict.fromkeys(job.task for job in planned.jobs)
    samplings = {job.sampling_seed for job in planned.jobs} - {None}
    how = f"sampled with {len(samplings)} seeds" if samplings else "decoded greedily"
    console.print(f"{len(students)} students, {len(planned.jobs)} scores in all")
    console.print(f"scored on: {', '.join(tasks)} (answers {how})")
    console.print(f"judged by: {', '.join(planned.suite.judges) or 'nobody'}")


@app.command()
def judge(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN | A.jsonl B.jsonl",
            help="The folder of a run, or two files of answers: is A better than B?",
        ),
    ],
    judges: Annotated[
        list[str],
        typer.Option(
            "--judge",
            help="A shipped judge or the path of a judge file; several make a jury.",
        ),
    ],
    against: Annotated[
        str,
        typer.Option(
            help="plain: every adaptive arm against its plain twin. Or reference, teacher, sft, "
            "untrained, or a method such as reverse_kl: every student against that. "
            "all: every method against every other. again: a method against itself at another "
            "training seed."
        ),
    ] = "plain",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Items of each set to judge; all if not given.")
    ] = None,
    until: Annotated[
        float | None,
        typer.Option(
            min=0.005,
            max=0.5,
            help="Ask in batches, and stop once the win rate is known to within plus or minus "
            "this share (0.03 is 3 %). One may look at any time: the interval stays valid.",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what that would ask and cost; asks nothing.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Of two files: the folder of the report.")
    ] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Ask judges which answers are better, then make the report again.

    Every judge is first tried on pairs whose answer is known; the report opens with a warning
    where it fails. What was answered before is not asked again.

    Example: adakd judge runs/smoke --judge openai --set model=gpt-5-mini --plan
    """
    from adakd.commands.judge import cost_table, judging_costs
    from adakd.commands.judge import judge as ask
    from adakd.reporting import win_rate_table
    from adakd.store import Store

    folder, files = _judged(paths, out)
    if plan:
        costs = judging_costs(
            folder, *judges, against=against, limit=limit, overrides=overrides, files=files
        )
        console.print(cost_table(costs))
        return
    report = ask(
        folder,
        *judges,
        against=against,
        limit=limit,
        until=until,
        overrides=overrides,
        files=files,
        progress=Live(console),
    )
    console.print(win_rate_table(Store(folder)))
    console.print(f"report: {report}", soft_wrap=True, highlight=False)


def _judged(paths: Sequence[Path], out: Path | None) -> tuple[Path, tuple[Path, Path] | None]:
    """Return the folder of the report, and the two files of answers if that is what is judged."""
    if len(paths) == 1 and paths[0].suffix != ".jsonl":
        if out is not None:
            raise AdakdError("--out goes with two files of answers; a run's report stays in it")
        return paths[0], None
    if len(paths) != 2:
        raise AdakdError("judge takes the folder of a run, or two .jsonl files of answers")
    candidate, opponent = paths
    return out or Path("runs", f"{candidate.stem}-vs-{opponent.stem}"), (candidate, opponent)


@app.command()
def report(folder: RunFolder) -> None:
    """Make report.html again, from the stored records alone."""
    from adakd.reporting import write_report

    console.print(f"report: {write_report(folder)}", soft_wrap=True, highlight=False)


@app.command()
def bench(
    run: Annotated[
        Path | None, typer.Argument(help="The folder of a run: its report then shows the figures.")
    ] = None,
    expression: Annotated[
        str | None, typer.Option("-k", help="Which cases, such as: loss and reverse_kl.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write; ./bench.json if no run is given.")
    ] = None,
) -> None:
    """Measure how fast adakd is on this machine, against the official way; all takes half an hour.

    Needs the packages of the extra `bench`. What it writes replaces the file.

    Example: adakd bench runs/smoke -k "step or rouge"
    """
    from adakd.benchmarks import FILE, write_bench
    from adakd.benchmarks import bench as run_benchmarks
    from adakd.reporting import bench_table, write_report
    from adakd.store import Store

    if run is not None and out is not None:
        raise AdakdError("--out goes without a run: what is measured for a run stays in it")
    if run is not None:
        Store(run).suite()  # before half an hour of measuring, not after
    file = out or (run or Path()) / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    found = run_benchmarks(expression, Live(console))
    write_bench(found, file)
    console.print(bench_table(found))
    console.print(f"figures: {file}", soft_wrap=True, highlight=False)
    if run is not None:
        console.print(f"report: {write_report(run)}", soft_wrap=True, highlight=False)
    if found.failed:
        raise typer.Exit(1)


@app.command("ls")
def list_(
    kind: Annotated[
        str,
        typer.Argument(help="divergences, policies, adaptive, metrics, suites, judges or tasks"),
    ],
    include: Annotated[
        Path | None, typer.Option(help="tasks: a folder of lm-eval task files of your own.")
    ] = None,
) -> None:
    """List what can be named in a suite, with the settings that each part takes."""
    from adakd.commands.ls import listing

    table = Table.grid(padding=(0, 3))
    for row in listing(kind, include):
        table.add_row(f"[bold]{row.name}[/bold]", escape(row.settings), escape(row.summary))
    console.print(table)


@app.command()
def new(
    kind: Annotated[
        str, typer.Argument(help="divergence, policy, metric, suite, judge or backend")
    ],
    name: Annotated[str, typer.Argument(help="The name; the file is made in this folder.")],
) -> None:
    """Start a part of your own from a file that works as it is."""
    from adakd.commands.new import new as make

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
    from adakd.commands.check import check_divergence as run_laws

    broken = 0
    for divergence, results in run_laws(name).items():
        console.print(f"[bold]{divergence}[/bold]")
        for law in results:
            broken += not law.ok
            mark = "[green]holds [/green]" if law.ok else "[red]broken[/red]"
            console.print(f"  {mark}  {law.name}  [dim]{law.detail}[/dim]", highlight=False)
    if broken:
        raise typer.Exit(1)
