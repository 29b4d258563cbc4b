"""Bounds of what a YAML file may hold, so that no alias makes it endless."""

from typing import Any

from adakd.errors import AdakdError

DEPTH = 50
"""The most levels of lists and mappings in one another."""
VALUES = 100_000
"""The most values, each alias counted anew."""


def check_nesting(content: Any, where: str) -> None:
    """Check that the content of a YAML file is finite, by its levels and its values.

    Raises:
        AdakdError: it is too deep or too large, or holds itself.
    """
    values, level = [content], 0
    seen = 1
    while values:
        if level > DEPTH:
            raise AdakdError(
                f"{where}: more than {DEPTH} levels of lists and mappings, or an alias (*name) "
                "inside its own anchor (&name): flatten it"
            )
        values = [inner for value in values for inner in _inside(value)]
        seen += len(values)
        if seen > VALUES:
            raise AdakdError(f"{where}: more than {VALUES:,} values: shorten it")
        level += 1


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []
