"""Read the rows of data sources; errors name the file and line. Needs no torch."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adakd.config import Columns, Hub, Source, Suite
from adakd.data.files import local_file
from adakd.data.puzzles import generate
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


def read_rows(source: Source, suite: Suite) -> list[Row]:
    """Return the selected rows of a source, in source order.

    Raises:
        AdakdError: a missing file, a malformed line (with its number), an unreachable hub set,
            or a selection without rows.
    """
    if source.kind == "generated":
        rows = [Row(*fields) for fields in generate(source.rows, source.split)]
    elif (file := local_file(source, suite)) is not None:
        rows = list(_from_file(file))
    else:
        assert isinstance(source, Hub)
        rows = _from_hub(source)
    rows = [row for row in rows if len(row.references[0].split()) >= source.min_response_words]
    if source.limit is not None and source.limit < len(rows):
        kept = random.Random(SAMPLE_SEED).sample(range(len(rows)), source.limit)
        rows = [rows[index] for index in sorted(kept)]
    if not rows:
        raise AdakdError(f"suite {suite.name!r}: {source} has no rows left after its selection")
    return rows


def _from_file(file: Path) -> Iterator[Row]:
    seen: set[str] = set()
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = _row(json.loads(line), Columns(id="id", outputs="outputs"), str(number))
            except ValueError as error:  # raised for text that is not UTF-8 or not JSON
                raise AdakdError(f"{file}, line {number}: {error}") from None
            if row.id in seen:
                raise AdakdError(f"{file}, line {number}: duplicate id {row.id!r}")
            seen.add(row.id)
            yield row


def _from_hub(source: Hub) -> list[Row]:
    import datasets

    try:
        table = datasets.load_dataset(source.id, split=source.split, revision=source.revision)
    except Exception as error:
        raise AdakdError(
            f"hub data set {source.id!r} ({source.split}): {type(error).__name__}: {error}; "
            "without a network, set data.folder to a folder of local copies"
        ) from None
    try:
        return [_row(dict(line), source.columns, str(i)) for i, line in enumerate(table)]
    except ValueError as error:
        raise AdakdError(f"hub data set {source.id!r}: {error}; fix its `columns`") from None


def _row(line: Any, columns: Columns, default_id: str) -> Row:
    """Parse a line as a row.

    Raises:
        ValueError: a field is missing or has the wrong type.
    """
    if not isinstance(line, dict):
        raise ValueError(f"expected an object, found {type(line).__name__}")
    references = line.get(columns.outputs) if columns.outputs else None
    if isinstance(references, str):
        references = [references]
    if references and not (
        isinstance(references, list) and all(isinstance(text, str) for text in references)
    ):
        raise ValueError(f"field {columns.outputs!r} is not a list of texts")
    return Row(
        id=str(line.get(columns.id, default_id) if columns.id else default_id),
        instruction=_text(line, columns.instruction),
        input=_text(line, columns.input) if columns.input and line.get(columns.input) else "",
        references=tuple(references) if references else (_text(line, columns.output),),
    )


def _text(line: dict[str, Any], field: str) -> str:
    value = line.get(field)
    if not isinstance(value, str):
        found = "missing" if value is None else f"{type(value).__name__}, not text"
        raise ValueError(f"field {field!r} is {found} (there: {', '.join(map(str, line))})")
    return value
