"""Hold two runs of one suite against each other: for `adakd compare`. Imports no torch."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table as Screen

from adakd.console import printable, shown
from adakd.errors import AdakdError, UnknownName, did_you_mean
from adakd.reporting.exports import Cell, Row, Table, markdown_lines
from adakd.reporting.formatting import duration, number, signed
from adakd.reporting.two_runs import ScorePair, TwoRuns, two_runs
from adakd.store import Store

FORMATS = ("table", "markdown", "json")
_MOST = 20
"""Most cells that are listed one by one, beside the scores."""


def compare(first: Path, second: Path) -> TwoRuns:
    """Compare the cells of two runs: on two machines, by two versions, or with other seeds.

    Each difference is held against the distance of trainings that differ in their seed alone.

    Raises:
        AdakdError: a folder without records.
    """
    stores = [Store(folder) for folder in (first, second)]
    for store in stores:
        if not store.exists:
            raise AdakdError(f"{store.folder}: no records here; give the folders of two runs")
    return two_runs(*stores)


def compared(found: TwoRuns, format: str) -> RenderableType:
    """Return a comparison for the terminal, as Markdown or as JSON.

    Raises:
        UnknownName: not a format.
    """
    if format not in FORMATS:
        raise UnknownName(f"--format: {format!r}{did_you_mean(format, FORMATS)}")
    if format == "json":
        content = asdict(found) | {"sentences": found.sentences}
        return json.dumps(_finite(content), indent=2, ensure_ascii=True)
    if format == "markdown":
        lines = (f"{sentence}\n\n" for sentence in found.sentences)
        return printable("".join([*lines, *markdown_lines(_tables(found))]).rstrip("\n"))
    return Group(*map(shown, found.sentences), *map(_on_screen, _tables(found)))


def _finite(value: Any) -> Any:
    """Return plain JSON values; a number that is not finite becomes null."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _tables(found: TwoRuns) -> Iterator[Table]:
    """Yield the tables with rows: scores, trainings, provenance, cells of one run alone."""
    first, second = found.names
    scores = [*found.means, *(row for row in found.scores if row.verdict != "equal")]
    equal = len(found.scores) - len(scores) + len(found.means)
    left_out = f"; {equal} equal scores are left out" if equal else ""
    yield from _table(
        f"scores: {second} minus {first}{left_out}",
        ("cell", "task", first, second, "difference", "noise", "verdict"),
        [_score(row) for row in scores],
        figures=3,
    )
    seconds = " and ".join(duration(of) for of in found.seconds)
    parted = [
        (cell.label, "same" if cell.same_key else "other", cell.weights, cell.parted)
        for cell in found.cells
        if cell.weights == "different" or cell.parted or not cell.same_key
    ]
    yield from _table(
        f"trainings that differ; in all they took {seconds}{_further(parted)}",
        ("cell", "key", "weights", "trainings part at"),
        parted[:_MOST],
    )
    yield from _table(
        "what differs in the provenance",
        ("field", first, second),
        [(one.field, one.first, one.second) for one in found.provenance],
    )
    lone = [(label, name) for name, of in zip(found.names, found.only, strict=True) for label in of]
    yield from _table(f"in one run alone{_further(lone)}", ("cell", "run"), lone[:_MOST])


def _further(rows: Sequence[object]) -> str:
    return f"; {len(rows) - _MOST} more are in --format json" if len(rows) > _MOST else ""


def _score(row: ScorePair) -> tuple[str, ...]:
    noise = {"training": "seeds", "items": "items", "": ""}[row.noise]
    band = number(row.band) if row.band is not None else ""
    return (
        row.cell,
        f"{row.task} ({row.unit})",
        number(row.first),
        number(row.second),
        signed(row.difference),
        f"±{band} ({noise})" if band else "not known",
        row.verdict,
    )


def _table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], figures: int = 0
) -> Iterator[Table]:
    """Yield a table if it has rows; so many columns from the third on hold figures."""
    if rows:
        heads = (
            Cell(name, is_text=not 0 <= place - 2 < figures) for place, name in enumerate(header)
        )
        yield Table("", caption, tuple(heads), tuple(Row(tuple(map(Cell, row))) for row in rows))


def _on_screen(table: Table) -> Screen:
    made = Screen(title=shown(table.caption), title_justify="left")
    for cell in table.header:
        side: Literal["left", "right"] = "left" if cell.is_text else "right"
        made.add_column(shown(cell.text), justify=side, overflow="fold")
    for row in table.rows:
        made.add_row(*(shown(cell.text) for cell in row.cells))
    return made
