"""Records of earlier schemas -> today's, so that stored runs still load."""

from typing import Any

_CELLS = ("cell", "candidate", "opponent")
"""Fields of records that hold a cell."""


def upgraded(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of schema 1 in the form of schema 2.

    The plain arm was called ``none`` in cells and ``plain`` elsewhere; it is ``plain`` now. The
    judge backend ``in_process`` was called ``decision``.
    """
    changed: dict[str, Any] = {name: _renamed(record[name]) for name in _CELLS if record.get(name)}
    if record["kind"] == "timing":
        changed["pairs"] = [[_renamed(step) for step in pair] for pair in record["pairs"]]
    if record["kind"] == "judge" and record["backend"] == "decision":
        changed["backend"] = "in_process"
    return {**record, **changed, "schema_version": 2}


def _renamed(of: dict[str, Any]) -> dict[str, Any]:
    return {**of, "arm": "plain"} if of["arm"] == "none" else of
