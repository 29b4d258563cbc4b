"""Judging on demand: the answers of a run, or of two files, before judges. Imports no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markup import escape

from adakd.config import Suite
from adakd.data import Row, read_rows
from adakd.errors import AdakdError
from adakd.judging import TWIN, ItemText, Panel, Subject, judge_answers, load_panel
from adakd.judging.answers import read_answers
from adakd.judging.cost import Cost
from adakd.judging.run import costs
from adakd.progress import Progress, Silent
from adakd.records import ScoreRecord
from adakd.reporting import vetting_warnings, write_report
from adakd.results import Store, locked


def judge(
    folder: Path,
    *judges: str,
    against: str = TWIN,
    limit: int | None = None,
    until: float | None = None,
    overrides: Sequence[str] = (),
    files: tuple[Path, Path] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Add verdicts to a finished run, or judge two files of answers, and make the report again.

    Args:
        folder: of the run; with `files`, where records and report go.
        *judges: shipped judges' names or paths of judge files; several are a jury.
        against: ``plain`` compares every adaptive arm with its plain twin; ``reference``, a role
            or a method compares every student with that; ``all`` every method with every other;
            ``again`` each plain method's first training seed with its second.
        limit: judge this many items of each set, a seeded choice; all if not given.
        until: stop asking about a method once its win rate's interval has this half-width.
        overrides: ``field=value`` settings of the judge, where there is one.
        files: candidate and opponent, JSONL files of answers that were made elsewhere.
        progress: is told of every stage; silent by default.

    Returns:
        The path of ``report.html``.

    Raises:
        AdakdError: no finished run there, a bad file, an unknown judge, or one that cannot be
            reached.
    """
    panel, progress = load_panel(judges, overrides), progress or Silent()
    subject = subject_of(folder, against, files)
    if subject.note:
        progress.note(escape(subject.note))
    with locked(folder):
        store = Store(folder)
        if files is not None:
            _keep_files(subject, store)
        ask_judges(panel, subject, store, progress, limit, until)
        return write_report(folder)


def judging_costs(
    folder: Path,
    *judges: str,
    against: str = TWIN,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    files: tuple[Path, Path] | None = None,
) -> list[Cost]:
    """Return what :func:`judge` would ask each judge, and what that costs; asks nothing.

    Raises:
        AdakdError: as :func:`judge`, but for judges that cannot be reached.
    """
    panel, subject = load_panel(judges, overrides), subject_of(folder, against, files)
    return costs(Store(folder), panel, subject, limit)


def subject_of(
    folder: Path, against: str = TWIN, files: tuple[Path, Path] | None = None
) -> Subject:
    """Return what is to be judged: the answers of a run, or those of two files."""
    if files is not None:
        return read_answers(*files).subject
    store = Store(folder)
    suite = store.suite()  # a mistyped folder must not be made by its lock
    return Subject(tuple(store.current(ScoreRecord)), item_texts(suite), against)


def _keep_files(subject: Subject, store: Store) -> None:
    """Record the answers of two files.

    Raises:
        AdakdError: the folder holds other answers than these.
    """
    keys = {record.key for record in subject.scores}
    if any(record.key not in keys for record in store.of(ScoreRecord)):
        raise AdakdError(f"{store.folder}: holds other answers; choose another --out folder")
    if missing := [record for record in subject.scores if record.key not in store]:
        store.add(*missing)


def ask_judges(
    panel: Panel,
    subject: Subject,
    store: Store,
    progress: Progress,
    limit: int | None = None,
    until: float | None = None,
) -> None:
    """Have judges asked, and tell what the user must know of it."""
    with progress.stage(f"judge with {panel.name}", 1) as show:
        judged = judge_answers(store, panel, subject, limit, until, on_progress=show)
    for warning in vetting_warnings(store, [judge.id for judge in panel.judges]):
        progress.note(f"[yellow]{escape(warning)}[/yellow]")
    if judged.failure:
        failed = judged.summaries[-1].outcomes.get("failed", 0)
        reason = escape(judged.failure)
        progress.note(f"[yellow]{failed} pairs without a verdict[/yellow]: {reason}")


def item_texts(suite: Suite) -> Mapping[str, Mapping[str, ItemText]]:
    """Return what a judge is shown of every item, by set and item id."""
    return {
        name: {row.id: _text(row) for row in read_rows(source, suite)}
        for name, source in suite.evaluation.sets.items()
    }


def _text(row: Row) -> ItemText:
    return ItemText(instruction=row.instruction, input=row.input, references=row.references)
