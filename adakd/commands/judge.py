"""Judge the answers of a run, or of two files. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Column, Table

from adakd.console import shown
from adakd.errors import AdakdError
from adakd.execution.judgement import Files, ask_judges, subject_of
from adakd.judging import Subject, load_panel
from adakd.judging.cost import Cost
from adakd.judging.runner import costs
from adakd.planning import PLAIN
from adakd.progress import Progress, Silent
from adakd.reporting import write_report
from adakd.store import Store, locked
from adakd.store.records import ScoreRecord


def judge(
    folder: Path,
    *judges: str,
    against: str = PLAIN,
    limit: int | None = None,
    until: float | None = None,
    overrides: Sequence[str] = (),
    files: Files | None = None,
    progress: Progress | None = None,
) -> Path:
    """Judge a finished run, or two files of answers, and rewrite the report.

    Args:
        folder: of the run; with `files`, the output folder of records and report.
        *judges: names of shipped judges or paths of judge files; several form a jury.
        against: ``plain`` compares each adaptive arm with the plain arm; ``reference``, a role or
            a method compares each student with it, and so does the path of a file of answers of a
            fixed model; ``all`` compares each method with every other;
            ``again`` the first training seed of each plain method with its second.
        limit: judge this many items of each set, a fixed random sample; all if None.
        until: stop asking about a method once the interval of its win rate has this half-width.
        overrides: ``field=value`` settings of the judge, if there is only one.
        files: candidate and opponent, files of answers made elsewhere.
        progress: receives every stage; silent by default.

    Returns:
        The path of ``report.html``.

    Raises:
        AdakdError: no finished run in the folder, an invalid file, or a judge that is unknown or
            cannot be reached.
    """
    panel, progress = load_panel(judges, overrides), progress or Silent()
    subject = subject_of(folder, against, files)
    if subject.note:
        progress.note(subject.note)
    with locked(folder):
        store = Store(folder)
        _keep_files(subject, store, alone=files is not None)
        ask_judges(panel, subject, store, progress, limit, until)
        return write_report(folder)


def judging_costs(
    folder: Path,
    *judges: str,
    against: str = PLAIN,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    files: Files | None = None,
) -> list[Cost]:
    """Estimate the queries and cost of :func:`judge` for each judge; asks nothing.

    Raises:
        AdakdError: as :func:`judge`, except for judges that cannot be reached.
    """
    panel, subject = load_panel(judges, overrides), subject_of(folder, against, files)
    return costs(Store(folder), panel, subject, limit)


def _keep_files(subject: Subject, store: Store, alone: bool) -> None:
    """Store the answers that were read from files.

    Raises:
        AdakdError: they are to be `alone` in the folder, and it holds other answers.
    """
    keys = {record.key for record in subject.scores}
    if alone and any(record.key not in keys for record in store.of(ScoreRecord)):
        raise AdakdError(f"{store.folder}: holds other answers; choose another --out folder")
    of_files = [record for record in subject.scores if record.cell.role == "file"]
    if missing := [record for record in of_files if record.key not in store]:
        store.add(*missing)


def cost_table(costs: Sequence[Cost]) -> Table:
    """Return the table of costs, one column for each judge."""
    table = Table("", *(Column(shown(row.judge)) for row in costs))
    rows: dict[str, list[str]] = {
        "questions about the answers": [f"{row.questions:,}" for row in costs],
        "questions to vet the judge": [f"{row.vetting:,}" for row in costs],
        "answered before": [f"{row.known:,}" for row in costs],
        "asked in the same words": [f"{row.reused:,}" for row in costs],
        "pairs of identical answers": [f"{row.identical:,}" for row in costs],
        "prompt tokens, about": [_or_dash(row.prompt_tokens) for row in costs],
        "reply tokens, at most": [_or_dash(row.completion_tokens) for row in costs],
        "cost, at most": [_price(row) for row in costs],
        "time, at its speed so far": [_minutes(row.seconds) for row in costs],
    }
    for name, fields in rows.items():
        table.add_row(name, *map(shown, fields))
    for column in table.columns[1:]:
        column.justify = "right"
    table.caption = "nothing was asked"
    return table


def _or_dash(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _minutes(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 60:,.1f} min"


def _price(row: Cost) -> str:
    if row.cost is None:
        return "-"
    expected = "" if row.expected_cost is None else f", likely {row.expected_cost:.2f}"
    return f"{row.cost:.2f} {row.currency}{expected}"
