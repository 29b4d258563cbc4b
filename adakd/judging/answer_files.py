"""Read two JSON Lines files of answers, made by any tool, as scores and items to judge."""

import json
import math
from collections.abc import Mapping
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
from adakd.errors import AdakdError
from adakd.judging.base import ItemText
from adakd.judging.comparisons import AGAIN, ALL, REFERENCE, Items, Subject
from adakd.metrics import metric
from adakd.planning import PLAIN, Cell, Role
from adakd.store.records import Item, ScoreRecord

TASK = "answers"
"""The set of lines that do not name one."""
_TAKEN = {PLAIN, REFERENCE, AGAIN, ALL, *get_args(Role)}
"""Opponents' names with another meaning than a file."""
_FORMS = {
    "reference": "a text or a list of texts",
    "references": "a text or a list of texts",
    "id": "a text or a whole number",
}
_SYNONYMS = {
    "answer": ("output", "text", "response", "generation", "prediction", "completion"),
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
    answer: _Text
    input: _Text | None = None
    reference: Annotated[tuple[_Text, ...], BeforeValidator(_texts)] = Field(
        default=(), validation_alias=AliasChoices("reference", "references")
    )
    id: _Text | StrictInt | None = None
    set: _Text | None = None

    def place(self, by_id: bool) -> "_Place":
        """Return the set and the id within it: the given id or a hash of the question."""
        name = f"{self.id}" if by_id else digest(_plain(self.instruction), _plain(self.input))
        return self.set or TASK, name


_Place = tuple[str, str]
_Lines = Mapping[int, _Line]
"""Lines by line number."""


@dataclass(frozen=True)
class _Answer:
    """An answer and its location in a file."""

    where: str
    line: _Line


def read_answers(candidate: Path, opponent: Path) -> Answers:
    """Read two files of answers, one JSON object per line, and match their items.

    A line has ``instruction`` and ``answer``, and may have ``input``, ``reference`` (one or a
    list), ``id`` and ``set``. Items are matched by set and ``id`` if all lines of both files
    have an ``id``, and otherwise by set, ``instruction`` and ``input``.

    Raises:
        AdakdError: an invalid line, a duplicate item in a file, one id for two questions, or no
            item in common.
    """
    mine, theirs = _read(candidate), _read(opponent)
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
        candidate=_scores(_cell(names[0], mine), left, items),
        opponent=_scores(_cell(names[1], theirs), right, items),
        items=items,
        unmatched=(len(left) - len(shared), len(right) - len(shared)),
    )


# --- reading --------------------------------------------------------------------------------


def _read(file: Path) -> _Lines:
    try:
        raw = file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise AdakdError(
            f"{file}: {error.strerror}; expected a JSON Lines file of answers"
        ) from None
    lines = {
        number: _parsed(line, f"{file}, line {number}")
        for number, line in enumerate(raw, start=1)
        if line.strip()
    }
    if not lines:
        raise AdakdError(f"{file}: empty; expected one JSON object a line")
    return lines


def _parsed(raw: bytes, where: str) -> _Line:
    try:
        content = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise AdakdError(f"{where}: not UTF-8; save the file in that encoding") from None
    except (ValueError, RecursionError) as error:
        raise AdakdError(f"{where}: not JSON ({error}); expected one object a line") from None
    if not isinstance(content, dict):
        raise AdakdError(f"{where}: expected a JSON object, found {type(content).__name__}")
    try:
        return _Line.model_validate(content)
    except ValidationError as error:
        raise AdakdError(f"{where}: {_explain(dict(error.errors()[0]), content)}") from None


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
    for number, line in lines.items():
        answer = _Answer(f"{file}, line {number}", line)
        if (first := found.setdefault(line.place(by_id), answer)) is not answer:
            what = f"id {line.id!r}" if by_id else "instruction and input"
            fix = "rename one" if by_id else "remove one, or give every line an `id`"
            raise AdakdError(f"{first.where} and line {number}: duplicate {what}; {fix}")
    return found


def _text(mine: _Answer, theirs: _Answer) -> ItemText:
    """Return the texts of an item in both files.

    Raises:
        AdakdError: the files disagree about the item.
    """
    one, other = mine.line, theirs.line
    same = {
        "instruction": _plain(one.instruction) == _plain(other.instruction),
        "input": _plain(one.input) == _plain(other.input),
        "reference": not (one.reference and other.reference)
        or sorted(map(_plain, one.reference)) == sorted(map(_plain, other.reference)),
    }
    for field, agrees in same.items():
        if not agrees:
            raise AdakdError(
                f"{mine.where} and {theirs.where}: field {field!r} of the same item differs; "
                "fix it, or the ids"
            )
    return ItemText(one.instruction, one.input or "", one.reference or other.reference)


def _plain(text: str | None) -> str:
    """Return a text with normalized whitespace, which differs from tool to tool."""
    return " ".join((text or "").split())


# --- scoring --------------------------------------------------------------------------------


def _names(candidate: Path, opponent: Path) -> tuple[str, str]:
    """Return the names of the files in the report, with their folders if the stems are equal.

    Raises:
        AdakdError: the names are equal even so.
    """
    files = candidate.resolve(), opponent.resolve()
    one, other = (file.name if file.stem in _TAKEN else file.stem for file in files)
    if one == other:
        one, other = (f"{file.parent.name}/{file.stem}" for file in files)
    if one == other:
        raise AdakdError(f"{candidate} and {opponent}: they have the same name; rename one")
    return one, other


def _cell(name: str, lines: _Lines) -> Cell:
    """Return the cell of a file, keyed by the file's content."""
    key = digest("file", name, list(lines.values()))
    return Cell(role="file", seed=0, divergence=name, key=key)


def _scores(cell: Cell, answers: Mapping[_Place, _Answer], items: Items) -> tuple[ScoreRecord, ...]:
    return tuple(
        _score(cell, task, {item: answers[task, item].line.answer for item in texts}, texts)
        for task, texts in items.items()
    )


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
