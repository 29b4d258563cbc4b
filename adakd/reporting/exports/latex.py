"""The tables of a report as LaTeX, for a paper."""

import re
from collections.abc import Iterable, Iterator

from adakd.reporting.exports.page_tables import Cell, Row, Table

LONG = 40
"""Most rows of a table on one page; a longer one is a ``longtable``."""
PREAMBLE = r"""% Needs \usepackage{booktabs} and \usepackage{longtable} in the preamble.
"""
SYMBOLS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    '"': "''",
    "[": "{[}",
    "]": "{]}",
    "−": r"\ensuremath{-}",
    "–": "--",
    "—": "---",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
    "→": r"\ensuremath{\rightarrow}",
    "▲": r"\ensuremath{\uparrow}",
    "▼": r"\ensuremath{\downarrow}",
    "τ": r"\ensuremath{\tau}",
    "κ": r"\ensuremath{\kappa}",
    "α": r"\ensuremath{\alpha}",
    "λ": r"\ensuremath{\lambda}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "…": r"\ldots{}",
    "\u00a0": "~",
}
"""Characters that LaTeX reads as commands or has no key for."""
_LATIN = re.compile(r"[\x20-\x7eÀ-ÖØ-öø-ÿ]")


def latex_lines(tables: Iterable[Table]) -> Iterator[str]:
    """Yield tables as LaTeX with the rules of booktabs, each with its caption and label.

    Letters that pdfLaTeX has no glyph for are spelled as their code points.
    """
    yield PREAMBLE
    for table in tables:
        yield from _table(table)


def escaped(text: str) -> str:
    """Return a text that LaTeX prints as it is."""
    return "".join(map(_letter, text))


def _letter(character: str) -> str:
    if character in SYMBOLS:
        return SYMBOLS[character]
    return character if _LATIN.match(character) else f"U+{ord(character):04X}"


def _table(table: Table) -> Iterator[str]:
    width = max([len(table.header), *(sum(c.span for c in row.cells) for row in table.rows)])
    columns = "".join(_column(table, place) for place in range(width))
    header = " & ".join(_head(cell) for cell in table.header)
    caption = rf"\caption{{{escaped(table.caption)}.}}\label{{tab:{table.id}}}"
    rules = [r"\toprule"]
    if header:
        rules += [rf"{header} \\", r"\midrule"]
    body = [line for row in table.rows for line in _row(row, width)]
    if len(table.rows) > LONG:
        lines = [
            rf"{{\small\begin{{longtable}}{{{columns}}}",
            rf"{caption}\\",
            *rules,
            r"\endfirsthead",
            *rules,
            r"\endhead",
            *body,
            r"\bottomrule",
            r"\end{longtable}}",
        ]
    else:
        lines = [
            r"\begin{table}[htbp]",
            r"\centering\small",
            caption,
            rf"\begin{{tabular}}{{{columns}}}",
            *rules,
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    yield "\n".join([*lines, "", ""])


def _column(table: Table, place: int) -> str:
    cells = [table.header[place]] if place < len(table.header) else []
    return "l" if place == 0 or any(cell.is_text for cell in cells) else "r"


def _head(cell: Cell) -> str:
    if not cell.below:
        return escaped(cell.text)
    side = "l" if cell.is_text else "r"
    lines = rf"{escaped(cell.text)}\\{{\footnotesize {escaped(cell.below)}}}"
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{lines}\end{{tabular}}"


def _row(row: Row, width: int) -> Iterator[str]:
    if row.heads_group:
        yield rf"\multicolumn{{{width}}}{{l}}{{\textit{{{_cell(row.cells[0])}}}}} \\"
        return
    cells = [
        rf"\multicolumn{{{cell.span}}}{{l}}{{{_cell(cell)}}}" if cell.span > 1 else _cell(cell)
        for cell in row.cells
    ]
    yield rf"{' & '.join(cells)} \\"


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    if cell.is_best:
        text = rf"\underline{{{text}}}"
    return rf"{text} {{\footnotesize({escaped(cell.below)})}}" if cell.below else text
