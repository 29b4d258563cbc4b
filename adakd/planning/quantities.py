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


def roughly(seconds: float) -> str:
    """Return a guessed time with one digit, such as ``40 s``, ``6 min`` or ``3 h``."""
    sizes = ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min"))
    size, unit = next((one for one in sizes if seconds >= 1.5 * one[0]), (1.0, "s"))
    return f"{float(f'{seconds / size:.1g}'):,.0f} {unit}"


def counted(count: int, thing: str) -> str:
    """Return ``1 seed`` or ``3 seeds``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
