"""The report taken along: its tables for papers, and every single value for own analyses."""

from adakd.reporting.exports.latex import latex_lines
from adakd.reporting.exports.long_csv import item_lines
from adakd.reporting.exports.markdown import markdown_lines
from adakd.reporting.exports.page_tables import Cell, Row, Table, tables_of

__all__ = [
    "Cell",
    "Row",
    "Table",
    "item_lines",
    "latex_lines",
    "markdown_lines",
    "tables_of",
]
