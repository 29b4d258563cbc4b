"""Read files of answers, made by any tool, as scores and items to judge."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
)

from adakd.config.hashing import digest
from adakd.config.scoring import DEFAULT_METRIC
from adakd.data.tables import records
from adakd.errors import AdakdError
from adakd.judging.base import ItemText
from adakd.judging.comparisons import AGAIN, ALL, REFERENCE, Items, Subject
from adakd.judging.conversations import Questions, read_questions, turns_of, with_question
from adakd.metrics import metric
from adakd.planning import PLAIN, Cell, Role
from adakd.store.records import Item, ScoreRecord

TASK = "answers"
"""The set of lines that do not name one."""
TAKEN = {PLAIN, REFERENCE, AGAIN, ALL, *get_args(Role)}
"""Opponents' names with another meaning than a file."""
_FORMS = {
    "reference": "a text or a list of texts",
    "references": "a text or a list of texts",
    "id": "a text or a whole number",
}
_SYNONYMS = {
    "answer": ("text", "response", "generation", "prediction", "completion"),
    "instruction": ("prompt", "question", "query"),
}
"""Other tools' names for a field: suggested in the error, never guessed."""


@dataclass(frozen=True)
class Answers:
    """The answers of two files to the items that both contain."""

    candidate: tuple[ScoreRecord, ...]
    """One score for each set."""
    opponent: tuple[ScoreRecord, ...]
    """Scores of the same sets in the same order."""
    items: Items
    unmatched: tuple[int, int]
    """The number of lines in each file that the other one lacks."""

    @property
    def scores(self) -> tuple[ScoreRecord, ...]:
        """All scores, the candidate's first."""
        return self.candidate + self.opponent

    @property
    def subject(self) -> Subject:
        """The candidate's answers against the opponent's, as input of a judging."""
        mine, theirs = self.candidate[0].cell.method, self.opponent[0].cell.method
        alone = [
            f"{count} of {name}"
            for count, name in zip(self.unmatched, (mine, theirs), strict=True)
            if count
        ]
        note = f"skipped, missing in the other file: {' and '.join(alone)}" if alone else ""
        return Subject(self.scores, self.items, against=theirs, note=note)


def _texts(value: Any) -> Any:
    """Return one or more references as a list, without blank ones."""
    several = [value] if isinstance(value, str) else value or []
    if not isinstance(several, list):
        return value
    return [text for text in several if not isinstance(text, str) or text.strip()]


def _whole(text: str) -> str:
    """Return a text unless it has a lone surrogate, which JSON's escapes allow."""
    text.encode("utf-8")
    return text


_Text = Annotated[str, AfterValidator(_whole)]


class _Line(BaseModel):
    """One answer; unknown fields are ignored, and null means not given."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    instruction: _Text
    answer: _Text = Field(validation_alias=AliasChoices("answer", "output"))
    """AlpacaEval calls it ``output``."""
    input: _Text | None = None
    reference: Annotated[tuple[_Text, ...], BeforeValidator(_texts)] = Field(
        default=(), validation_alias=AliasChoices("reference", "references")
    )
    id: _Text | StrictInt | None = None
    set: _Text | None = None
    conversation: _Text | None = None
    """Hash of all turns of the conversation that this line is a turn of."""

    def place(self, by_id: bool) -> "_Place":
        """Return the set and the id within it: the given id or a hash of the question."""
        asked = self.conversation or plain(self.instruction)
        return self.set or TASK, f"{self.id}" if by_id else digest(asked, plain(self.input))


_Place = tuple[str, str]
_Lines = Mapping[str, _Line]
"""Lines by their place in the file, such as ``line 3``."""


@dataclass(frozen=True)
class _Answer:
    """An answer and its location in a file."""

    where: str
    line: _Line


def read_answers(candidate: Path, opponent: Path, questions: Path | None = None) -> Answers:
    """Read two files of answers, one JSON object per line or in an array, and match their items.

    A line has ``instruction`` and ``answer`` (or ``output``), and may have ``input``,
    ``reference`` (one or a list), ``id`` and ``set``. Items are matched by set and ``id`` if all
    lines of both files have an ``id``, and otherwise by set, ``instruction`` and ``input``. In a
    conversation of several turns ``instruction``, ``answer`` and ``reference`` are lists of one
    text a turn; each turn is an item.

    Args:
        candidate: the answers that may win.
        opponent: the answers to compare them with.
        questions: of MT-bench, where the answers are in FastChat's form (``question_id``,
            ``choices``).

    Raises:
        AdakdError: an invalid line, a duplicate item in a file, one id for two questions, or no
            item in common.
    """
    asked = None if questions is None else read_questions(questions)
    mine, theirs = read_lines(candidate, asked), read_lines(opponent, asked)
    by_id = all(line.id is not None for lines in (mine, theirs) for line in lines.values())
    left, right = _placed(candidate, mine, by_id), _placed(opponent, theirs, by_id)
    shared = [place for place in left if place in right]
    if not shared:
        raise AdakdError(
            f"{candidate} and {opponent} have no item in common: give the lines of both files the "
            f"same {'`set` and `id`' if by_id else '`id`, or `set`, `instruction` and `input`'}"
        )
    items: dict[str, dict[str, ItemText]] = {}
    for task, item in shared:
        items.setdefault(task, {})[item] = _text(left[task, item], right[task, item])
    names = _names(candidate, opponent)
    return Answers(
        candidate=answer_scores(
            file_cell(names[0], list(mine.values())), _said(left, items), items
        ),
        opponent=answer_scores(
            file_cell(names[1], list(theirs.values())), _said(right, items), items
        ),
        items=items,
        unmatched=(len(left) - len(shared), len(right) - len(shared)),
    )


# --- reading --------------------------------------------------------------------------------


def read_lines(file: Path, questions: Questions | None = None) -> _Lines:
    """Return the lines of a file of answers by their place in it.

    Raises:
        AdakdError: there is no such file, it is empty, or a line is invalid.
    """
    if not file.is_file():
        why = "is a folder" if file.is_dir() else "no such file"
        raise AdakdError(f"{file}: {why}; expected a JSON Lines file of answers")
    lines = {
        place: line
        for where, fields in records(file)
        for place, line in _parsed(fields, questions, file, where)
    }
    if not lines:
        raise AdakdError(f"{file}: empty; expected one JSON object a line")
    return lines


def _parsed(
    fields: Any, questions: Questions | None, file: Path, where: str
) -> Iterator[tuple[str, _Line]]:
    """Yield the line of each turn with its place."""
    if not isinstance(fields, dict):
        kind = type(fields).__name__
        raise AdakdError(f"{file}, {where}: expected a JSON object, found {kind}")
    try:
        turns = turns_of(with_question(fields, questions), TASK)
    except ValueError as error:
        raise AdakdError(f"{file}, {where}: {error}") from None
    for number, turn in enumerate(turns, start=1):
        try:
            line = _Line.model_validate(turn)
        except ValidationError as error:
            why = _explain(dict(error.errors()[0]), turn)
            raise AdakdError(f"{file}, {where}: {why}") from None
        yield where if len(turns) == 1 else f"{where}, turn {number}", line


def _explain(error: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    field = str(error["loc"][0])
    if error["type"] == "missing":
        near = [name for name in _SYNONYMS[field] if name in content]
        fix = f"rename {near[0]!r} to {field!r}" if near else "add it"
        return f"field {field!r} is missing (found: {', '.join(content) or 'none'}); {fix}"
    form = _FORMS.get(field, "a text")
    if error["type"] == "value_error":
        return f"field {field!r} has half of a surrogate pair; write it as {form} in UTF-8"
    return f"field {field!r} is {json.dumps(content[field])[:60]}; make it {form}"


def _placed(file: Path, lines: _Lines, by_id: bool) -> dict[_Place, _Answer]:
    """Return the answers by set and id.

    Raises:
        AdakdError: two answers have the same set and id.
    """
    found: dict[_Place, _Answer] = {}
    for where, line in lines.items():
        answer = _Answer(f"{file}, {where}", line)
        if (first := found.setdefault(line.place(by_id), answer)) is not answer:
            what = f"id {line.id!r}" if by_id else "instruction and input"
            fix = "rename one" if by_id else "remove one, or give every line an `id`"
            raise AdakdError(f"{first.where} and {where}: duplicate {what}; {fix}")
    return found


def _said(answers: Mapping[_Place, _Answer], items: Items) -> dict[str, dict[str, str]]:
    return {
        task: {item: answers[task, item].line.answer for item in texts}
        for task, texts in items.items()
    }


def _text(mine: _Answer, theirs: _Answer) -> ItemText:
    """Return the texts of an item in both files.

    Raises:
        AdakdError: the files disagree about the item.
    """
    one, other = mine.line, theirs.line
    same = {
        "instruction": plain(one.instruction) == plain(other.instruction),
        "input": plain(one.input) == plain(other.input),
        "reference": not (one.reference and other.reference)
        or sorted(map(plain, one.reference)) == sorted(map(plain, other.reference)),
    }
    for field, agrees in same.items():
        if not agrees:
            raise AdakdError(
                f"{mine.where} and {theirs.where}: field {field!r} of the same item differs; "
                "fix it, or the ids"
            )
    return ItemText(one.instruction, one.input or "", one.reference or other.reference)


def plain(text: str | None) -> str:
    """Return a text with normalized whitespace, which differs from tool to tool."""
    return " ".join((text or "").split())


# --- scoring --------------------------------------------------------------------------------


def _names(candidate: Path, opponent: Path) -> tuple[str, str]:
    """Return the names of the files in the report, with their folders if the stems are equal.

    Raises:
        AdakdError: the names are equal even so.
    """
    files = candidate.resolve(), opponent.resolve()
    one, other = (file.name if file.stem in TAKEN else file.stem for file in files)
    if one == other:
        one, other = (f"{file.parent.name}/{file.stem}" for file in files)
    if one == other:
        raise AdakdError(f"{candidate} and {opponent}: they have the same name; rename one")
    return one, other


def file_cell(name: str, content: object) -> Cell:
    """Return the cell of a file, keyed by the file's content."""
    return Cell(role="file", seed=0, divergence=name, key=digest("file", name, content))


def answer_scores(
    cell: Cell, answers: Mapping[str, Mapping[str, str]], items: Items
) -> tuple[ScoreRecord, ...]:
    """Return the score of each set.

    Args:
        cell: of the answers.
        answers: by set and item.
        items: the texts of these items.
    """
    return tuple(_score(cell, task, answers[task], texts) for task, texts in items.items())


def _score(
    cell: Cell, task: str, answers: Mapping[str, str], texts: Mapping[str, ItemText]
) -> ScoreRecord:
    """Return the answers with their values of the default metric, none without a reference."""
    value = metric[DEFAULT_METRIC]
    scored = tuple(
        Item(id=item, value=value(answer, texts[item].references), answer=answer)
        for item, answer in answers.items()
    )
    known = [item.value for item in scored if item.value is not None]
    key = digest("answers", cell.key, task, scored)
    return ScoreRecord(
        key=key,
        cell=cell,
        task=task,
        sort="answers",
        metric=DEFAULT_METRIC,
        **asdict(metric.display(DEFAULT_METRIC)),
        answers=key,
        sampling_seed=None,
        value=fmean(known) if known else math.nan,
        n=len(scored),
        unscored=len(scored) - len(known),
        unseen=metric.unseen(DEFAULT_METRIC, (texts[item].references for item in answers)),
        seconds=0.0,
        items=scored,
    )
