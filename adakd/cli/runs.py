"""The verbs of runs: do one, plan it, look at it, measure this machine."""

import json
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from adakd.cli.base import (
    Overrides,
    RunFolder,
    SuiteName,
    console,
    print_line,
    print_report,
    run_folder,
)
from adakd.config.loading import load_suite
from adakd.console import printable
from adakd.errors import AdakdError
from adakd.progress import Live


def run(
    suite: SuiteName = "smoke",
    out: Annotated[
        Path | None, typer.Option(help="The run folder. [default: runs/SUITE]", show_default=False)
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the report at the end.")] = False,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="ray[:ADDRESS]",
            help="Work on all cores or GPUs of this machine by Ray, or on the cluster at ADDRESS "
            "(auto: the one that this machine is part of). [default: in this process]",
            show_default=False,
        ),
    ] = None,
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Check all and stop before any work: for `adakd work`."),
    ] = False,
    overrides: Overrides = [],  # noqa: B006  # Typer reads the default, nobody changes it
) -> None:
    """Train, score, time and judge all that a suite asks for, and write the report.

    Interrupt it at any time: the same command goes on where it stopped. The first line tells what
    is to be done; the last ones answer the suite's question, and name a command to go on with.

    Example: `adakd run smollm2-dolly --set data.folder=my/data --set training.steps=50`
    """
    loaded = load_suite(suite, overrides)
    if out is None and not loaded.name.strip(". "):
        raise AdakdError(f"name: {loaded.name!r} names no folder; rename the suite, or give --out")
    folder = out or run_folder(loaded.name)

    from adakd.commands.run import Start, next_line

    start = Start(loaded, folder, on)
    print_line(start.outlook())

    from adakd.reporting import answer_lines, summary_table  # statistics: slow
    from adakd.store import Store

    if not start.is_finished:
        from adakd.training.allocator import keep_freed_memory  # torch: after all that needs none

        keep_freed_memory()
    if prepare:
        start.prepare(Live(console))
        print_line(f"prepared: adakd work {folder}")
        return
    report = start.run(Live(console))
    given = [
        word
        for flag, value in (("--out", out), ("--on", on))
        if value
        for word in (flag, str(value))
    ]
    store = Store(folder)
    for line in answer_lines(store):
        print_line(line)
    console.print(summary_table(store))
    print_report(report)
    print_line(next_line(["run", suite, *given], overrides, loaded))
    if open_page and not webbrowser.open(report.resolve().as_uri()):
        print_line("--open: no browser found; open the report yourself")


def plan(
    suite: SuiteName = "smoke",
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="The folder of a finished run: what could this suite find, if its differences "
            "vary like that run's?",
        ),
    ] = None,
    spread: Annotated[
        str | None,
        typer.Option(
            metavar="NOISE,SEEDS[,ITEMS]",
            help="The same from stated standard deviations of paired differences: of an item in "
            "one training, of the mean between trainings, and between items in all trainings.",
        ),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(
            metavar="TOKENS_PER_S,TFLOPS",
            help="How long would it take at this speed? Decoded tokens a second at "
            "evaluation.batch_size, and 10^12 operations a second of training: 900,300.",
        ),
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="Of an hour of the device: adds the cost.")
    ] = None,
    units: Annotated[
        bool,
        typer.Option("--units", help="List the units of work: what each needs before, and takes."),
    ] = False,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Show what a run would train and score, take and find. Trains nothing and answers at once.

    What it takes: work, tokens, operations, memory and disk of each stage, and the time once a
    speed is known, by --speed, by the run given with --like, or by the run in runs/SUITE. Of large
    suites the time on an H100 is estimated.

    Runs the Python files under `plugins:` of the suite and of its judge files, as every verb that
    takes a suite does: read the suite of a stranger before you plan it.

    Example: `adakd plan smoke --set seeds=[1,2,3] --spread 13,0.6`
    """
    from adakd.commands.plan import FINDS, plan_summary
    from adakd.commands.takes import takes, takes_table
    from adakd.execution.inputs import check_inputs
    from adakd.planning import plan as make_plan

    planned = make_plan(load_suite(suite, overrides))
    panel = check_inputs(planned.suite)
    if units:
        from adakd.commands.work import units_table

        console.print(units_table(planned))
        return
    found = takes(planned, panel, like or run_folder(planned.suite.name), speed, price)
    console.print(plan_summary(planned))
    console.print(takes_table(found))
    if like is None and spread is None:
        console.print(FINDS)
        return
    from adakd.commands.detectable import detectable, detectable_table  # statistics: slow

    console.print(detectable_table(detectable(planned, like, spread)))


def work(
    folder: RunFolder,
    unit: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The unit to do; lists those that are left if not given."),
    ] = None,
) -> None:
    """Do one unit of a run, with no engine: a job in an array of Slurm, or in any queue.

    Begin the run with `adakd run SUITE --prepare`. Without `--unit`, each line has the key of a
    unit, its kind, the keys of those it waits for or `-`, and what it does. Units that wait for
    nothing may be done at the same time, on all machines that share the folder. At last
    `adakd run SUITE` takes all in, judges, and writes the report.

    Example: `adakd work runs/smoke --unit 0123abcd`
    """
    from adakd.commands.work import unit_lines
    from adakd.commands.work import work as do_unit

    if unit is None:
        for line in unit_lines(folder):
            print(printable(line))
        return

    from adakd.execution.inputs import TORCHRUN, check_launcher

    check_launcher("work", TORCHRUN)

    from adakd.training.allocator import keep_freed_memory

    keep_freed_memory()
    if not do_unit(folder, unit, Live(console)):
        print_line(f"{unit}: done before, or it has nothing to do")


def report(folder: RunFolder) -> None:
    """Write report.html again, from the stored records alone.

    Example: `adakd report runs/smoke`
    """
    from adakd.reporting import write_report

    print_report(write_report(folder))


def export(
    folder: RunFolder,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="csv: every score of every item, seed and method. latex, markdown: the tables of "
            "the page. json: the figures behind the page.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The file to write; the screen if not given.")
    ] = None,
) -> None:
    """Take the tables and the single scores of a run along.

    Example: `adakd export runs/smoke --format latex --out tables.tex`
    """
    from adakd.commands.export import export as exported

    for piece in exported(folder, format, out):
        print(piece, end="")


def bench(
    run: Annotated[
        Path | None, typer.Argument(help="The folder of a run: its report then shows the results.")
    ] = None,
    expression: Annotated[
        str | None, typer.Option("-k", help="Choose cases, such as: loss and reverse_kl.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write; ./bench.json if no run is given.")
    ] = None,
) -> None:
    """Measure speed and memory on this machine, against reference implementations.

    All cases take half an hour. Needs the packages of the extra `bench`. The file is replaced.

    Example: `adakd bench runs/smoke -k "step or rouge"`
    """
    from adakd.commands.bench import FILE
    from adakd.commands.bench import bench as measure
    from adakd.reporting import bench_table

    file = out if run is not None else out or Path(FILE)
    measured = measure(expression, Live(console), run, file)
    console.print(bench_table(measured))
    console.print(f"results: {file or Path(str(run), FILE)}", soft_wrap=True, highlight=False)
    if run is not None:
        print_report(run / "report.html")
    if measured.failed:
        raise typer.Exit(1)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Tell what this machine can do, and what each shipped suite takes. Needs some seconds.

    Example: `adakd doctor`
    """
    from adakd.commands.doctor import doctor as examine
    from adakd.commands.doctor import findings_table

    found = examine()
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        console.print(findings_table(found))
