"""The answers of a fixed model, in a file, as the opponent of every student of a run."""

from collections.abc import Collection, Mapping
from pathlib import Path

from adakd.errors import AdakdError
from adakd.judging.answer_files import TAKEN, answer_scores, file_cell, plain, read_lines
from adakd.judging.base import ItemText
from adakd.judging.comparisons import Items
from adakd.store.records import ScoreRecord


def read_opponent(
    file: Path, items: Items, methods: Collection[str]
) -> tuple[tuple[ScoreRecord, ...], int]:
    """Read the answers of a file to the items of a run.

    A line answers the items with its ``instruction`` and ``input``; in the set that it names, if
    it names one.

    Args:
        file: as for two files of answers.
        items: the item texts of the run.
        methods: the names of the run's methods.

    Returns:
        The answers, one score for each set, and the number of items without an answer.

    Raises:
        AdakdError: an invalid line, two answers to one item, or no answer to any item.
    """
    found: dict[tuple[str | None, str, str], str] = {}
    for where, line in read_lines(file).items():
        place = line.set, plain(line.instruction), plain(line.input)
        if found.setdefault(place, line.answer) != line.answer:
            raise AdakdError(f"{file}, {where}: a second answer to the same question; remove one")
    answers: dict[str, dict[str, str]] = {}
    for task, texts in items.items():
        of_task = {item: _answer(found, task, text) for item, text in texts.items()}
        known = {item: answer for item, answer in of_task.items() if answer is not None}
        if known:
            answers[task] = known
    if not answers:
        raise AdakdError(
            f"{file}: answers no item of this run; its lines need the `instruction` and `input` "
            "of the run's sets"
        )
    name = file.name if file.stem in {*methods, *TAKEN} else file.stem
    answered = {
        task: {item: items[task][item] for item in known} for task, known in answers.items()
    }
    missing = sum(map(len, items.values())) - sum(map(len, answers.values()))
    cell = file_cell(name, sorted(found.items(), key=repr))
    return answer_scores(cell, answers, answered), missing


def _answer(
    found: Mapping[tuple[str | None, str, str], str], task: str, text: ItemText
) -> str | None:
    question = plain(text.instruction), plain(text.input)
    return found.get((task, *question), found.get((None, *question)))
