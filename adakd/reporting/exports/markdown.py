"""The tables of a report as Markdown, for a README or an issue."""

import re
from collections.abc import Iterable, Iterator

from adakd.reporting.exports.page_tables import Cell, Row, Table


def markdown_lines(tables: Iterable[Table]) -> Iterator[str]:
    """Yield tables in the pipe syntax, each with its caption above."""
    for table in tables:
        width = max([len(table.header), *(sum(c.span for c in row.cells) for row in table.rows)])
        header = [*map(_cell, table.header), *[""] * (width - len(table.header))]
        heads = enumerate(table.header)
        sides = [":--" if number == 0 or cell.is_text else "--:" for number, cell in heads]
        sides += ["--:"] * (width - len(sides))
        lines = [f"**{escaped(table.caption)}**", "", _line(header), _line(sides)]
        yield "\n".join([*lines, *(_line(_row(row)) for row in table.rows), "", ""])


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", text)


def _row(row: Row) -> Iterator[str]:
    for cell in row.cells:
        yield _cell(cell)
        yield from [""] * (cell.span - 1)


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    if cell.is_best:
        text = f"<u>{text}</u>"
    return f"{text} ({escaped(cell.below)})" if cell.below else text


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
