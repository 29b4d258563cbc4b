"""Read the rows of data sources; errors name the file, the row and the field. Needs no torch."""

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adakd.config import Columns, Hub, Source, Suite
from adakd.config.sources import FileColumns
from adakd.data.files import local_file
from adakd.data.puzzles import generate
from adakd.data.tables import Record, records
from adakd.errors import AdakdError

SAMPLE_SEED = 0
"""Seed of the sample that a ``limit`` keeps; fixed, so that all runs use the same rows."""


@dataclass(frozen=True)
class Row:
    """One instruction with its reference responses; students train on the first one."""

    id: str
    instruction: str
    input: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Content:
    """The selected rows of a source."""

    rows: list[Row]
    unread: tuple[str, ...] = ()
    """Fields that are there and that nothing reads."""


def read_rows(source: Source, suite: Suite) -> list[Row]:
    """Return the selected rows of a source, in source order, under unique ids.

    Raises:
        AdakdError: a missing file, a malformed row (with its place), an unreachable hub set,
            or a selection without rows.
    """
    return read_source(source, suite).rows


def read_source(source: Source, suite: Suite) -> Content:
    """Return the rows of :func:`read_rows`, and the fields that nothing reads."""
    if source.kind == "generated":
        made = generate(source.rows, source.split, source.noise)
        content = Content([Row(*fields) for fields in made])
    elif (file := local_file(source, suite)) is not None:
        found = list(records(file))
        fields = _fields(found)
        columns = source.columns if source.kind == "jsonl" else _local_columns(source, fields)
        content = _content(found, fields, columns, f"{file}, ")
        if source.kind == "jsonl":
            _check_ids(found, content.rows, f"{file}, ")
    else:
        assert isinstance(source, Hub)
        content = _from_hub(source)
    rows = [r for r in content.rows if len(r.references[0].split()) >= source.min_response_words]
    if source.limit is not None and source.limit < len(rows):
        kept = random.Random(SAMPLE_SEED).sample(range(len(rows)), source.limit)
        rows = [rows[index] for index in sorted(kept)]
    if not rows:
        raise AdakdError(
            f"suite {suite.name!r}: {_described(source)} has no rows left after its selection "
            f"({len(content.rows)} before limit and min_response_words)"
        )
    return Content(_with_ids_of_their_own(rows), content.unread)


def read_file(file: Path) -> list[Row]:
    """Return the rows of a file outside of any suite, with the usual fields.

    Raises:
        AdakdError: no such file, a malformed row or a repeated id (with their places), or no rows.
    """
    if not file.is_file():
        raise AdakdError(f"{file}: no such file; give a file of rows, as for evaluation sets")
    found = list(records(file))
    rows = _content(found, _fields(found), FileColumns(), f"{file}, ").rows
    _check_ids(found, rows, f"{file}, ")
    if not rows:
        raise AdakdError(f"{file}: has no rows")
    return rows


def _described(source: Source) -> str:
    if source.kind == "jsonl":
        return f"data file {source.path}"
    return f"hub data set {source.id!r}" if source.kind == "hub" else "the generated set"


def _from_hub(source: Hub) -> Content:
    import datasets

    options: dict[str, Any] = {"split": source.split, "revision": source.revision}
    if source.files:
        # The sizes that the set's card gives are those of its usual files.
        files = {source.split.partition("[")[0]: list(source.files)}
        options |= {"data_files": files, "verification_mode": "no_checks"}
    try:
        table = datasets.load_dataset(source.id, **options)
    except Exception as error:
        raise AdakdError(
            f"hub data set {source.id!r} ({source.split}): {type(error).__name__}: {error}; "
            "without a network, set data.folder to a folder of local copies"
        ) from None
    found = [Record(f"row {number}", dict(line)) for number, line in enumerate(table, start=1)]
    try:
        return _content(found, _fields(found), source.columns, f"hub data set {source.id!r}, ")
    except AdakdError as error:
        raise AdakdError(f"{error}; fix its `columns`") from None


def _local_columns(source: Hub, fields: Collection[str]) -> Columns:
    """Return the columns of a local copy, which may have the names of the hub or ours."""
    ours, theirs = FileColumns(), source.columns

    def either(first: str | None, second: str | None) -> Any:
        return first if first in fields else second

    return Columns(
        id=either(theirs.id, ours.id),
        instruction=either(theirs.instruction, ours.instruction),
        input=either(theirs.input, ours.input),
        output=either(theirs.output, ours.output),
        outputs=either(ours.outputs, theirs.outputs),
    )


def _fields(found: Iterable[Record]) -> list[str]:
    """Return the names of all fields, in the order in which they come."""
    rows = (record.fields for record in found)
    return list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))


def _content(found: list[Record], fields: list[str], columns: Columns, source: str) -> Content:
    rows = []
    for record in found:
        try:
            default_id = record.where.rpartition(" ")[2]
            rows.append(_row(record.fields, columns, default_id))
        except ValueError as error:
            raise AdakdError(f"{source}{record.where}: {error}") from None
    for use in ("id", "input", "outputs"):
        name, usual = getattr(columns, use), getattr(FileColumns(), use)
        if name not in (None, usual, *fields) and rows:
            there = ", ".join(fields)
            raise AdakdError(f"{source}columns.{use}: no row has a field {name!r} (there: {there})")
    read = set(columns.model_dump().values())
    return Content(rows, tuple(name for name in fields if name not in read))


def _check_ids(found: Sequence[Record], rows: Sequence[Row], source: str) -> None:
    """Refuse a file in which two rows have one id.

    Raises:
        AdakdError: there are two, with their places.
    """
    first: dict[str, str] = {}
    for record, row in zip(found, rows, strict=True):
        if row.id in first:
            raise AdakdError(
                f"{source}{record.where}: duplicate id {row.id!r}, first in {first[row.id]}"
            )
        first[row.id] = record.where


def _with_ids_of_their_own(rows: list[Row]) -> list[Row]:
    """Return rows under unique ids: where ids repeat, as they may on the hub, with positions."""
    if len({row.id for row in rows}) == len(rows):
        return rows
    return [
        Row(f"{row.id} [{position}]", row.instruction, row.input, row.references)
        for position, row in enumerate(rows, start=1)
    ]


def _row(line: Any, columns: Columns, default_id: str) -> Row:
    """Parse a line as a row.

    Raises:
        ValueError: a field is missing, has the wrong type, or is not text.
    """
    if not isinstance(line, dict):
        raise ValueError(f"expected an object, found {type(line).__name__}")
    several = columns.outputs or columns.output
    references = line.get(several)
    if columns.outputs is None and not isinstance(references, list):
        references = None  # then one text is expected
    if isinstance(references, str):
        references = [references]
    if references and not (
        isinstance(references, list) and all(isinstance(text, str) for text in references)
    ):
        raise ValueError(f"field {several!r} is not a list of texts")
    given = line.get(columns.id) if columns.id else None
    return Row(
        id=_whole(default_id if given is None else str(given), columns.id),
        instruction=_text(line, columns.instruction),
        input=_text(line, columns.input) if columns.input and line.get(columns.input) else "",
        references=tuple(_whole(text, several) for text in references)
        if references
        else (_text(line, columns.output),),
    )


def _text(line: dict[str, Any], field: str) -> str:
    value = line.get(field)
    if not isinstance(value, str):
        found = f"{type(value).__name__}, not text"
        if value is None:
            found = "null" if field in line else "missing"
        raise ValueError(f"field {field!r} is {found} (there: {', '.join(map(str, line))})")
    return _whole(value, field)


def _whole(text: str, field: str | None) -> str:
    """Return a text unless it has a lone surrogate, which JSON's escapes allow."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise ValueError(
            f"field {field!r}: character {error.start + 1} is {half!a}, half of a surrogate pair: "
            "remove it"
        ) from None
    return text
