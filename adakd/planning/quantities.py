"""Numbers of plans and records as text, the same on the terminal and on the page."""

from math import isfinite

NONE = "–"
MINUS = "−"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with a true minus sign, or a dash for none."""
    if value is None or not isfinite(value):
        return NONE
    rounded = f"{value:,.{digits}f}"
    is_zero = not rounded.strip("-0.,")
    return rounded.lstrip("-") if is_zero else rounded.replace("-", MINUS)


def duration(seconds: float) -> str:
    """Return seconds, minutes or hours, whichever is readable."""
    if seconds < 120:
        return f"{number(seconds, 1)} s"
    return f"{number(seconds / 60, 1)} min" if seconds < 7200 else f"{number(seconds / 3600, 1)} h"


def counted(count: int, thing: str) -> str:
    """Return ``1 seed`` or ``3 seeds``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
