"""Conversations of several turns as items to judge: one item for each turn, with those before it.

The two answers of an item are the two conversations up to its turn. Items of one conversation share
their id in sets that differ in the turn, such as ``answers, turn 2``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adakd.config.hashing import digest
from adakd.data.tables import records
from adakd.errors import AdakdError

TURN = ", turn "
"""Between the name of a set and the number of a turn."""
Fields = Mapping[str, Any]
Questions = Mapping[str, Fields]
"""The questions of MT-bench by their id."""


def first_turn(task: str) -> str:
    """Return the name of a set without its turn: what the items of one conversation share."""
    name, turn, number = task.rpartition(TURN)
    return name if turn and number.isdecimal() else task


def read_questions(file: Path) -> Questions:
    """Read a file of questions in FastChat's form: ``question_id``, ``turns``, maybe ``reference``.

    Raises:
        AdakdError: the file cannot be read, or a row has no id or no turns.
    """
    found: dict[str, Fields] = {}
    for where, fields in records(file):
        if not isinstance(fields, dict) or "question_id" not in fields:
            raise AdakdError(f"{file}, {where}: field 'question_id' is missing; add it")
        turns = fields.get("turns")
        if not _are_texts(turns):
            raise AdakdError(f"{file}, {where}: field 'turns': expected a list of texts")
        found[str(fields["question_id"])] = fields
    return found


def with_question(fields: Fields, questions: Questions | None) -> Fields:
    """Return a line of answers in FastChat's form in ours; any other line is left as it is.

    Raises:
        ValueError: its question is not known, or it holds no turns.
    """
    if "choices" not in fields or "question_id" not in fields:
        return fields
    if questions is None:
        raise ValueError(
            "answers in FastChat's form need their questions: give --questions question.jsonl"
        )
    question = questions.get(str(fields["question_id"]))
    if question is None:
        raise ValueError(f"question_id {fields['question_id']!r} is not among the questions")
    try:
        turns = fields["choices"][0]["turns"]
    except (LookupError, TypeError):
        turns = None
    if not _are_texts(turns):
        raise ValueError("field 'choices': expected [{turns: [...]}], a list of texts")
    given = {name: fields[name] for name in ("set",) if name in fields}
    return {
        **given,
        "id": str(fields["question_id"]),
        "instruction": question["turns"],
        "answer": turns,
        "reference": question.get("reference"),
    }


def turns_of(fields: Fields, task: str) -> list[Fields]:
    """Return a line for each turn; a line of a single text is left as it is.

    ``instruction`` and ``answer`` are lists of one text a turn, and so is ``reference`` if given.

    Args:
        fields: of the line.
        task: the set of lines that name none.

    Raises:
        ValueError: the lists are not equally long, or hold something else.
    """
    asked, answered = fields.get("instruction"), fields.get("answer")
    if not isinstance(asked, list) and not isinstance(answered, list):
        return [fields]
    references = fields.get("reference") or fields.get("references") or []
    for name, texts in (("instruction", asked), ("answer", answered)):
        if not _are_texts(texts):
            raise ValueError(f"field {name!r}: expected a list of one text a turn")
    assert isinstance(asked, list)
    assert isinstance(answered, list)
    if len(asked) != len(answered):
        raise ValueError(
            f"'instruction' has {len(asked)} turns, but 'answer' has {len(answered)}: one text each"
        )
    known = _are_texts(references) and len(references) == len(asked)
    name = fields.get("set") or task
    rest = {key: fields[key] for key in ("input", "id") if key in fields}
    return [
        {
            **rest,
            "set": f"{name}{TURN}{turn}" if len(asked) > 1 else name,
            "conversation": digest(asked),
            "instruction": _question(asked[:turn]),
            "answer": _spoken(answered[:turn]),
            "reference": _spoken(references[:turn]) if known else None,
        }
        for turn in range(1, len(asked) + 1)
    ]


def _question(turns: Sequence[str]) -> str:
    if len(turns) == 1:
        return turns[0]
    parts = [f"[Turn {number}]\n{text}" for number, text in enumerate(turns, start=1)]
    return (
        f"A conversation of {len(turns)} turns. Judge the answer to the last turn; the earlier "
        "ones are its context.\n\n" + "\n\n".join(parts)
    )


def _spoken(turns: Sequence[str]) -> str:
    if len(turns) == 1:
        return turns[0]
    parts = [f"[Answer to turn {number}]\n{text}" for number, text in enumerate(turns, start=1)]
    return "\n\n".join(parts)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)
