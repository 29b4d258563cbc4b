"""The command line: parses arguments and prints. Every verb is a Python function too."""

import errno
import gc
import json
import os
import shlex
import sys
import warnings
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.core

from adakd.config.loading import load_suite
from adakd.console import PlainConsole, printable
from adakd.errors import AdakdError
from adakd.interrupts import Interrupted, heeded
from adakd.progress import Live

if TYPE_CHECKING:
    from adakd.execution.judgement import Files
    from adakd.losses.laws import LawResult


class _Verbs(typer.core.TyperGroup):
    """The verbs; an interruption is one line, and the end of a file no interruption."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            code = error.exit_code if isinstance(error, Interrupted) else 130
            print(f"adakd: {STOPPED}", file=sys.stderr)
            raise typer.Exit(code) from None
        except EOFError as error:  # which Click takes for a closed terminal
            raise RuntimeError(f"unexpected end of a file: {error}") from error


app = typer.Typer(
    cls=_Verbs,
    help="""Benchmark knowledge distillation of language models, with and without AdaKD.

    Start with `adakd run`: a minute, nothing to download. Then `adakd ls suites` shows what
    else there is, and `adakd new suite NAME` starts a comparison of your own.
    """,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
console = PlainConsole()
_NO_OUTPUT = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
"""Why a terminal or a file that is printed to takes no more."""
STOPPED = "stopped; finished work is kept, and the same command goes on from there"

BENCHMARK, JUDGE, SHARE = "Train and compare", "Judge answers", "Take together and share"
EXTEND = "Find, extend and check"

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


def run_folder(suite: str) -> Path:
    """Return the folder of a suite's run where none is given."""
    return Path("runs", suite.replace("/", "-"))


def _print_report(file: Path) -> None:
    _print_line(f"report: {file}")


def _print_line(text: str) -> None:
    """Print a line as it is, to be copied whole."""
    console.print(text, soft_wrap=True, highlight=False)


@app.command(rich_help_panel=BENCHMARK)
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
    from adakd.execution.inputs import (
        check_devices,
        check_engine,
        check_inputs,
        check_launcher,
    )
    from adakd.planning import plan as make_plan

    check_launcher()
    check_engine(on)
    loaded = load_suite(suite, overrides)
    if out is None and not loaded.name.strip(". "):
        raise AdakdError(f"name: {loaded.name!r} names no folder; rename the suite, or give --out")
    folder = out or run_folder(loaded.name)
    planned = make_plan(loaded)
    check_inputs(loaded)
    check_devices(loaded, on)

    from adakd.commands.run import next_line, take_in_units
    from adakd.commands.run import prepare as prepare_run
    from adakd.commands.run import run as run_suite
    from adakd.execution.finished import is_finished
    from adakd.execution.outlook import outlook
    from adakd.reporting import answer_lines, summary_table
    from adakd.store import Store

    take_in_units(folder)
    store = Store(folder)
    _print_line(outlook(planned, store))
    if not is_finished(planned, store):
        from adakd.training.allocator import keep_freed_memory  # torch: after all that needs none

        keep_freed_memory()
    if prepare:
        prepare_run(loaded, folder, Live(console))
        _print_line(f"prepared: adakd work {folder}")
        return
    report = run_suite(loaded, folder, Live(console), on)
    given = [
        word
        for flag, value in (("--out", out), ("--on", on))
        if value
        for word in (flag, str(value))
    ]
    store = Store(folder)
    for line in answer_lines(store):
        _print_line(line)
    console.print(summary_table(store))
    _print_report(report)
    _print_line(next_line(["run", suite, *given], overrides, loaded))
    if open_page and not webbrowser.open(report.resolve().as_uri()):
        _print_line("--open: no browser found; open the report yourself")


@app.command(rich_help_panel=BENCHMARK)
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
    from adakd.execution.inputs import check_devices, check_inputs
    from adakd.planning import plan as make_plan

    planned = make_plan(load_suite(suite, overrides))
    panel = check_inputs(planned.suite)
    check_devices(planned.suite)
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


@app.command(rich_help_panel=BENCHMARK)
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
        _print_line(f"{unit}: done before, or it has nothing to do")


@app.command(rich_help_panel=JUDGE)
def judge(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN | A.jsonl B.jsonl",
            help="The folder of a run, or two files of answers: is A better than B?",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    judges: Annotated[
        list[str],
        typer.Option(
            "--judge",
            help="A shipped judge, or the path of a judge file. Several make a jury.",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="JUDGE",
            help="Measure a judge on pairs with a known answer instead: its accuracy, flips, and "
            "pulls of position and length.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="With --calibrate: the file of rows with references to make pairs from."),
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(min=1, help="With --calibrate: the number of pairs; 200 if not given."),
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            help="plain: every adaptive arm against its plain arm. reference, teacher, sft, "
            "untrained, or a method such as reverse_kl: every student against that. "
            "all: every method against every other. again: a method against itself at another "
            "training seed. A .jsonl file: every student against these answers of a fixed model."
        ),
    ] = "plain",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Judge this many items of each set; all if not given.")
    ] = None,
    until: Annotated[
        float | None,
        typer.Option(
            min=0.005,
            max=0.5,
            help="Stop once the win rate over prompts is known to within plus or minus this share "
            "(0.03 is 3 %, about 2,500 prompts). The interval stays valid however often it is "
            "looked at; training seeds widen it on the page, and one seed alone gets no verdict.",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the number of requests and the cost; ask nothing.")
    ] = False,
    questions: Annotated[
        Path | None,
        typer.Option(help="With two files of answers to MT-bench: the file of its questions."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="With two files of answers, or --calibrate: the folder of the page."),
    ] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Ask judges which answers are better, and write the report again.

    Every judge is first vetted on comparisons whose answer is known; the report opens with a
    warning where it fails. Nothing that is already answered is asked again.

    Example: `adakd judge runs/smoke --judge openai --set model=gpt-5-mini --plan`

    Example: `adakd judge --calibrate openai --data data/dolly/valid.jsonl --plan`
    """
    if calibrate is not None:
        if paths or judges or data is None:
            raise AdakdError("--calibrate JUDGE goes with --data FILE, without a run or --judge")
        of_run = (against != "plain", limit, until, questions)
        for option, given in zip(("against", "limit", "until", "questions"), of_run, strict=True):
            if given:
                raise AdakdError(f"--{option} does not go with --calibrate JUDGE")
        _calibrate(calibrate, data, pairs, out, overrides, plan)
        return
    if data is not None or pairs is not None:
        option = "--data" if data is not None else "--pairs"
        raise AdakdError(f"{option} goes with --calibrate JUDGE")
    if not judges:
        raise AdakdError("judge needs --judge NAME; `adakd ls judges` lists the shipped ones")
    from adakd.commands.judge import cost_table, judging_costs
    from adakd.commands.judge import judge as ask
    from adakd.reporting import win_rate_table
    from adakd.store import Store

    folder, files = _judged(paths, out, questions)
    if files is not None and against != "plain":
        raise AdakdError("--against goes with a run: of two files, the second is the opponent")
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
    _print_report(report)


def _calibrate(
    judge: str,
    data: Path,
    pairs: int | None,
    out: Path | None,
    overrides: Sequence[str],
    plan: bool,
) -> None:
    """Calibrate a judge, or tell what that would cost."""
    from adakd.commands.calibrate import calibrate, calibration_cost
    from adakd.commands.judge import cost_table
    from adakd.judging.calibration import PAIRS

    count = PAIRS if pairs is None else pairs
    if plan:
        console.print(cost_table([calibration_cost(judge, data, count, out, overrides)]))
        return
    page, result = calibrate(judge, data, count, out, overrides, Live(console))
    console.print(result, soft_wrap=True, highlight=False)
    console.print(f"calibration: {page}", soft_wrap=True, highlight=False)


def _judged(
    paths: Sequence[Path], out: Path | None, questions: Path | None
) -> "tuple[Path, Files | None]":
    """Return the folder of the report and, where two files are judged, these."""
    from adakd.execution.judgement import ANSWER_FILES, Files

    if len(paths) == 1 and paths[0].suffix not in ANSWER_FILES:
        if out is not None or questions is not None:
            option = "--out" if out is not None else "--questions"
            raise AdakdError(f"{option} goes with two files of answers, not with a run")
        return paths[0], None
    if len(paths) != 2:
        raise AdakdError("judge takes the folder of a run, or two .jsonl files of answers")
    candidate, opponent = paths
    folder = out or Path("runs", f"{candidate.stem}-vs-{opponent.stem}")
    return folder, Files(candidate, opponent, questions)


@app.command(rich_help_panel=BENCHMARK)
def report(folder: RunFolder) -> None:
    """Write report.html again, from the stored records alone.

    Example: `adakd report runs/smoke`
    """
    from adakd.reporting import write_report

    _print_report(write_report(folder))


@app.command(rich_help_panel=BENCHMARK)
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


@app.command(rich_help_panel=SHARE)
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

    _print_line(str(unite(folders, out)))
    _print_report(out / "report.html")
    suite = shlex.join(["adakd", "run", str(out / "suite.yaml"), "--out", str(out)])
    _print_line(f"next, to train and score what the united suite still lacks: {suite}")


@app.command(rich_help_panel=SHARE)
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


@app.command(rich_help_panel=SHARE)
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
        _print_line(f"{'would publish' if dry_run is not None else 'published'}: {where}")
    if license == "unknown":
        _print_line("the cards state no licence; --license NAME does")


@app.command(rich_help_panel=BENCHMARK)
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
        _print_report(run / "report.html")
    if measured.failed:
        raise typer.Exit(1)


@app.command(rich_help_panel=BENCHMARK)
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


@app.command("ls", rich_help_panel=EXTEND)
def list_(
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


@app.command(rich_help_panel=EXTEND)
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
app.add_typer(check, name="check", rich_help_panel=EXTEND)


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
