"""The verb of judges: `adakd judge`, with its calibration."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adakd.cli.base import Overrides, console, print_report
from adakd.errors import AdakdError
from adakd.progress import Live

if TYPE_CHECKING:
    from adakd.execution.judgement import Files


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
    print_report(report)


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
