"""Records -> one HTML report, and a summary for the terminal."""

from adakd.reporting.report import render, write_report
from adakd.reporting.tables import summary_table

__all__ = ["render", "summary_table", "write_report"]
