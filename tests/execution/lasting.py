"""The part of records that two runs of one suite share."""

import json
from collections.abc import Set
from pathlib import Path
from typing import Any

CHANGING = frozenset({"seconds", "peak_bytes"})
"""Fields that no two runs share."""


def lasting(value: Any, changing: Set[str] = CHANGING) -> Any:
    """Leave out some fields, at any depth."""
    if isinstance(value, dict):
        return {k: lasting(inner, changing) for k, inner in value.items() if k not in changing}
    return [lasting(one, changing) for one in value] if isinstance(value, list | tuple) else value


def results(run: Path, changing: Set[str] = CHANGING) -> dict[tuple[str, str], Any]:
    """Return the last record of each kind and key as written, starts left out."""
    records = map(json.loads, (run / "results.jsonl").read_text().splitlines())
    return {
        (one["kind"], one["key"]): lasting(one, changing) for one in records if one["kind"] != "run"
    }
