"""Judge the answers of a run, or of two files. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adakd.config import Suite
from adakd.data import Row, read_rows
from adakd.judging import ItemText, Panel, Subject
from adakd.judging.answer_files import read_answers
from adakd.judging.opponent_files import read_opponent
from adakd.judging.runner import judge_answers
from adakd.planning import PLAIN
from adakd.progress import Progress
from adakd.reporting import vetting_warnings
from adakd.store import Store

ANSWER_FILES = (".jsonl", ".json")
"""How the names of files of answers end."""


@dataclass(frozen=True)
class Files:
    """Two files of answers, and the questions of MT-bench if they are in FastChat's form."""

    candidate: Path
    opponent: Path
    questions: Path | None = None


def subject_of(folder: Path, against: str = PLAIN, files: Files | None = None) -> Subject:
    """Return the answers to judge: those of a run, or of two files.

    Args:
        folder: of the run.
        against: the opponent; the path of a file of answers is a fixed model.
        files: two files of answers, in place of a run.
    """
    if files is not None:
        return read_answers(files.candidate, files.opponent, files.questions).subject
    store = Store(folder)
    suite = store.suite()  # a mistyped folder must not be made by its lock
    items = item_texts(suite)
    scores = tuple(score for score in store.scores() if score.cell.role != "neutral")
    if Path(against).suffix not in ANSWER_FILES:
        return Subject(scores, items, against)
    fixed, missing = read_opponent(Path(against), items, {score.cell.method for score in scores})
    name = fixed[0].cell.method
    note = f"skipped, not answered by {name}: {missing} of the items" if missing else ""
    return Subject((*scores, *fixed), items, name, note)


def ask_judges(
    panel: Panel,
    subject: Subject,
    store: Store,
    progress: Progress,
    limit: int | None = None,
    until: float | None = None,
) -> None:
    """Ask the judges, and report warnings and failures to the user."""
    with progress.stage(f"judge with {panel.name}", 1) as show:
        judged = judge_answers(
            store,
            panel,
            subject,
            limit,
            until,
            on_progress=show,
            on_note=lambda text: progress.note(text, "yellow"),
        )
    for warning in vetting_warnings(store, [judge.id for judge in panel.judges]):
        progress.note(warning, "yellow")
    if judged.failure:
        failed = judged.summaries[-1].outcomes.get("failed", 0)
        pairs = "pair" if failed == 1 else "pairs"
        progress.note(f"{failed} {pairs} without a verdict: {judged.failure}", "yellow")


def item_texts(suite: Suite) -> Mapping[str, Mapping[str, ItemText]]:
    """Return the text of every item as judges see it, by set and item id."""
    return {
        name: {row.id: _text(row) for row in read_rows(source, suite)}
        for name, source in suite.evaluation.sets.items()
    }


def _text(row: Row) -> ItemText:
    return ItemText(instruction=row.instruction, input=row.input, references=row.references)
