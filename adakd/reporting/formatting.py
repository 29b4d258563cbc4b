"""Format numbers for the page: digits, signs and units."""

from collections.abc import Sequence
from typing import TypeVar

from adakd.planning.quantities import MINUS as MINUS
from adakd.planning.quantities import NONE as NONE
from adakd.planning.quantities import counted as counted
from adakd.planning.quantities import duration as duration
from adakd.planning.quantities import number as number
from adakd.stats import Ratio

T = TypeVar("T")

FEW = 6
"""Most rows that a reader takes in at a glance; more are folded, or described in part."""
ROWS = 120
"""Most rows of a table on the page, those of the headline first; ``report.json`` has all."""


def on_page(rows: Sequence[T]) -> Sequence[T]:
    """Return the rows of a table that the page has room for: the first ones."""
    return rows[:ROWS]


def beyond_page(rows: Sequence[object]) -> str:
    """Return how many rows the page has no room for, in a sentence; empty if it shows all."""
    left = len(rows) - ROWS
    return f"{counted(left, 'more row')}: see report.json." if left > 0 else ""


def signed(value: float | None, digits: int = 2) -> str:
    """Return a difference, with its sign even where it is positive."""
    shown = number(value, digits)
    is_zero = not shown.strip("0.,")
    return shown if is_zero or shown[0] in MINUS + NONE else f"+{shown}"


def interval(low: float, high: float, digits: int = 2) -> str:
    """Return ``-0.12 to +0.34``; words, since a dash beside minus signs misleads."""
    return f"{signed(low, digits)} to {signed(high, digits)}"


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share as a percentage."""
    return NONE if value is None else f"{number(100 * value, digits)} %"


def shares(value: Ratio, digits: int = 0) -> str:
    """Return the interval of a share as ``51–72 %``."""
    return f"{number(100 * value.low, digits)}–{number(100 * value.high, digits)} %"


def money(value: float | None, currency: str) -> str:
    """Return an amount, with more digits where it is small."""
    if value is None:
        return NONE
    digits = 2 if value >= 1 or value == 0 else 4
    return f"{number(value, digits)} {currency}"


def p_value(value: float | None) -> str:
    """Return a p-value, never as 0."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else number(value, 3)


def size(value: int | None) -> str:
    """Return bytes in MiB or GiB."""
    if value is None:
        return NONE
    mebibytes = value / 2**20
    return f"{mebibytes / 1024:.2f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"


def seconds(value: float) -> str:
    """Return seconds with the digits that a short time needs."""
    return number(value, 1 if value >= 10 else 2 if value >= 0.1 else 4)
