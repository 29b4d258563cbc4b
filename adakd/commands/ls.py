"""List what a suite can name: for `adakd ls`."""

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from adakd.adaptive import adaptive, focus, indicator, temperature
from adakd.bridges import bridge
from adakd.config import resources
from adakd.config.loading import read_yaml
from adakd.console import shown
from adakd.divergences import divergence
from adakd.errors import UnknownName, did_you_mean
from adakd.metrics import metric
from adakd.policies import policy
from adakd.registry import Registry, load_plugins

KINDS = ("divergences", "bridges", "policies", "adaptive", "metrics", "suites", "judges", "tasks")


@dataclass(frozen=True)
class Entry:
    """A part, a suite, a judge or a task."""

    name: str
    settings: str
    """Settings with their defaults, as in a signature."""
    summary: str


def listing(kind: str, include: Path | None = None) -> list[Entry]:
    """Return all parts or files of a kind, plug-ins included.

    Raises:
        UnknownName: not a kind that can be listed.
    """
    load_plugins()
    if kind == "divergences":
        return _parts(divergence)
    if kind == "bridges":
        return _parts(bridge)
    if kind == "policies":
        return _parts(policy)
    if kind == "metrics":
        return _parts(metric)
    if kind == "adaptive":
        pieces: dict[str, Registry[Any]] = {
            "indicator": indicator,
            "focus": focus,
            "temperature": temperature,
        }
        inner = [
            Entry(f"  {entry.name}", entry.settings, f"{piece}: {entry.summary}")
            for piece, registry in pieces.items()
            for entry in _parts(registry)
        ]
        return [*_parts(adaptive), *inner]
    if kind in ("suites", "judges"):
        return [
            Entry(name, "", str(read_yaml(file).get("description", "")))
            for name, file in resources.shipped(kind).items()
        ]
    if kind == "tasks":
        from adakd.evaluation.lm_eval_tasks import known_tasks

        return [Entry(name, "", "") for name in known_tasks(include)]
    raise UnknownName(f"cannot list {kind!r}{did_you_mean(kind, KINDS)}")


def listing_table(entries: Iterable[Entry]) -> Table:
    """Return a row for each entry."""
    table = Table.grid(padding=(0, 3))
    for entry in entries:
        table.add_row(shown(entry.name, "bold"), shown(entry.settings), shown(entry.summary))
    return table


def _parts(registry: Registry[Any]) -> list[Entry]:
    return [
        Entry(name, _settings(registry.settings(name).model_fields), _summary(registry[name]))
        for name in sorted(registry)
    ]


def _settings(fields: Mapping[str, Any]) -> str:
    return ", ".join(
        name if field.is_required() else f"{name}={field.default}" for name, field in fields.items()
    )


def _summary(part: object) -> str:
    first = (inspect.getdoc(part) or "").partition("\n")[0]
    return re.sub(r",? ?:math:`[^`]*`", "", first).replace("``", "")
