"""The scores that the AdaKD paper reports, by table and row."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from adakd.config import Published, resources
from adakd.errors import AdakdError, did_you_mean

METRIC = "rouge_l"
"""The metric of the published scores, times 100."""


@dataclass(frozen=True)
class PublishedScore:
    """A published score, in the unit of the table."""

    mean: float
    std: float | None = None
    """Standard deviation over five seeds, of training or of sampling; None if not reported."""


@dataclass(frozen=True)
class PublishedRow:
    """A row of a table in the paper."""

    name: str
    sets: Mapping[str, PublishedScore]
    average: float
    """Average over the table's sets, as printed."""


@cache
def _tables() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(resources.PUBLISHED.read_text(encoding="utf-8"))
    return {name: table for name, table in content.items() if _has_scores(table)}


def _has_scores(table: Any) -> bool:
    """Whether this is a table of scores, and neither one of win rates nor a remark."""
    return isinstance(table, dict) or (isinstance(table, list) and "avg" in table[0])


def published_table(table: str, model: str | None = None) -> dict[str, PublishedRow]:
    """Return a published table by its rows' names, in the paper's order.

    Args:
        table: its key in ``suites/paper/tables.json``.
        model: the part of a table that has several.

    Raises:
        AdakdError: no such table, or no such part of it.
    """
    tables = _tables()
    if table not in tables:
        raise AdakdError(f"no published table {table!r}{did_you_mean(table, tables)}")
    rows = tables[table]
    parts = list(rows) if isinstance(rows, dict) else []
    if (model or None) not in (parts or [None]):
        near = did_you_mean(model or "", parts) if parts else "; it has one part: leave model out"
        raise AdakdError(f"published table {table!r}: no model {model!r}{near}")
    return {row["method"]: _row(row) for row in (rows[model] if parts else rows)}


def published_win_rates(section: Published) -> dict[str, float]:
    """Return the published win rate, in percent, for each method that a suite maps to one.

    Raises:
        AdakdError: no such table of win rates, or no such row.
    """
    content = json.loads(resources.PUBLISHED.read_text(encoding="utf-8"))
    tables = {name: rows for name, rows in content.items() if _has_win_rates(rows)}
    if section.table not in tables:
        near = did_you_mean(section.table, tables)
        raise AdakdError(f"no published table of win rates {section.table!r}{near}")
    rates = {row["method"]: float(row["win_rate"]) for row in tables[section.table]}
    for name in section.rows.values():
        if name not in rates:
            raise AdakdError(
                f"published table {section.table!r}: no row {name!r}{did_you_mean(name, rates)}"
            )
    return {method: rates[name] for method, name in section.rows.items()}


def _has_win_rates(table: Any) -> bool:
    return isinstance(table, list) and "win_rate" in table[0]


def _row(row: Mapping[str, Any]) -> PublishedRow:
    plain = {name: value for name, value in row.items() if name not in ("method", "avg", "scores")}
    sets = {name: PublishedScore(**value) for name, value in row.get("scores", {}).items()}
    sets |= {name: PublishedScore(value) for name, value in plain.items()}
    return PublishedRow(row["method"], sets, row["avg"])


def published_rows(section: Published) -> dict[str, PublishedRow]:
    """Return the published row for each method that a suite maps to one.

    Raises:
        AdakdError: the table has no such row.
    """
    rows = published_table(section.table, section.model)
    for name in section.rows.values():
        if name not in rows:
            near = did_you_mean(name, rows)
            raise AdakdError(f"published table {section.table!r}: no row {name!r}{near}")
    return {method: rows[name] for method, name in section.rows.items()}
