"""Records -> one HTML report, and summaries for the terminal."""

from adakd.reporting.calibration_page import write_calibration
from adakd.reporting.report import render, write_report
from adakd.reporting.sections.benchmarks import bench_table
from adakd.reporting.sections.scores import summary_table
from adakd.reporting.terminal import answer_lines, vetting_warnings, win_rate_table

__all__ = [
    "answer_lines",
    "bench_table",
    "render",
    "summary_table",
    "vetting_warnings",
    "win_rate_table",
    "write_calibration",
    "write_report",
]
