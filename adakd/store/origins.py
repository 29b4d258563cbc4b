"""Which start of a run, and so which machine, made each record. Needs no torch."""

from collections.abc import Mapping, Sequence

from adakd.store.records import Record, RunRecord
from adakd.store.store import Store

Name = tuple[str, str]
"""Kind and key of a record."""


def name_of(record: Record) -> Name:
    """Return what tells a record apart from all others of a run."""
    return record.kind, record.key


def origins(store: Store) -> dict[Name, RunRecord | None]:
    """Return the start that made each record: the last one that was recorded before it.

    None for records without a start before them, such as answers that were read from files.
    """
    found: dict[Name, RunRecord | None] = {}
    start: RunRecord | None = None
    for record in store.written():
        if isinstance(record, RunRecord):
            start = record
        found[name_of(record)] = start
    return found


def machine(run: RunRecord | None) -> str:
    """Return the processor or GPU of a start and the versions that decide numbers, in a line."""
    if run is None:
        return "a machine that is not recorded"
    device = run.hardware.get("gpu") or run.hardware.get("processor") or "an unknown processor"
    named = (f"{name} {run.versions[name]}" for name in ("adakd", "torch") if name in run.versions)
    return ", ".join([device, *named])


def joined(of: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return settings of several machines in one mapping; different values stand side by side."""
    names = dict.fromkeys(name for one in of for name in one)
    return {
        name: " and ".join(dict.fromkeys(one[name] for one in of if name in one)) for name in names
    }
