"""Results of the benchmarks as they are stored: the parts of pytest-benchmark's JSON that are used.

Neither the name of the machine nor that of its user is kept.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from adakd.config import Config
from adakd.errors import AdakdError
from adakd.store.disk import write_atomically, writing

FILE = "bench.json"
"""Name of the results in a run folder."""


class Line(Config):
    """One line of the table: a ratio and its goal."""

    what: str
    reference: str
    """The other side of the comparison."""
    measure: str
    """The unit of the value, such as ``times faster``."""
    value: float
    goal: float | None = None
    more_is_better: bool = True
    """Whether the goal is a lower bound; else it is an upper one."""
    met: bool | None = None
    """None where there is no goal."""


class CaseNotes(Config):
    """Measurements that a case adds to its times."""

    rows: tuple[Line, ...] = ()
    more: dict[str, float] = Field(default_factory=dict)
    """Other numbers: medians of both sides in seconds, bytes."""


class Stats(Config):
    """Seconds of our side: processor time, unless the case measures something else."""

    min: float
    median: float
    iqr: float
    rounds: int


class Case(Config):
    """One benchmark."""

    name: str
    group: str | None
    stats: Stats
    extra_info: CaseNotes


class Bench(Config):
    """One run of the benchmarks."""

    schema_version: int = 1
    datetime: str
    """UTC, ISO 8601."""
    machine_info: dict[str, str]
    versions: dict[str, str]
    commit: str | None
    others: float | None
    """Share of the machine's cores that other programs used meanwhile; None if unknown."""
    environment: dict[str, str]
    """The allocator's settings."""
    expression: str | None
    """The chosen cases; None for all."""
    failed: tuple[str, ...] = ()
    """Cases that ended in an error."""
    benchmarks: tuple[Case, ...]


def slim(report: Mapping[str, Any], leave_out: Collection[str] = ()) -> tuple[Case, ...]:
    """Return the cases of pytest-benchmark's JSON, except those with the given ids."""
    return tuple(
        Case(
            name=case["name"],
            group=case["group"],
            stats=Stats(**{field: case["stats"][field] for field in Stats.model_fields}),
            extra_info=CaseNotes.model_validate(case["extra_info"]),
        )
        for case in report["benchmarks"]
        if case["fullname"] not in leave_out
    )


def write_bench(measured: Bench, file: Path) -> None:
    """Write the results, atomically.

    Raises:
        AdakdError: the file cannot be written.
    """
    with writing(file, file.parent):
        write_atomically(file, measured.model_dump_json(indent=1) + "\n")


def read_bench(file: Path) -> Bench | None:
    """Return the stored results, or None where there is no such file.

    Raises:
        AdakdError: the file holds something else.
    """
    try:
        return Bench.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AdakdError(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise AdakdError(
            f"{file}: not written by `adakd bench` of this version "
            f"({f'{where}: ' if where else ''}{first['msg']}); remove it or run `adakd bench` again"
        ) from None
