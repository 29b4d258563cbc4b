"""What the benchmarks measured, as it is stored: pytest-benchmark's JSON, less what nobody reads.

Neither the name of the machine nor that of its user is kept.
"""

import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from adakd.config import Config
from adakd.errors import AdakdError
from adakd.store.disk import writing

FILE = "bench.json"
"""Its name in a run folder."""


class Line(Config):
    """One line of the table: a ratio, and the goal that it has."""

    what: str
    reference: str
    """What it is measured against."""
    measure: str
    """The unit of the value, such as ``times faster``."""
    value: float
    goal: float | None = None
    more_is_better: bool = True
    """Whether the goal is the least value or the largest."""
    met: bool | None = None
    """None where there is no goal."""


class Found(Config):
    """What a case notes of itself."""

    rows: tuple[Line, ...] = ()
    more: dict[str, float] = Field(default_factory=dict)
    """Other numbers: medians of both sides in seconds, bytes."""


class Stats(Config):
    """Seconds of our side in a case, of the processor where the case says nothing else."""

    min: float
    median: float
    iqr: float
    rounds: int


class Case(Config):
    """One benchmark."""

    name: str
    group: str | None
    stats: Stats
    extra_info: Found


class Bench(Config):
    """One run of the benchmarks."""

    schema_version: int = 1
    datetime: str
    """UTC, ISO 8601."""
    machine_info: dict[str, str]
    versions: dict[str, str]
    commit: str | None
    others: float | None
    """Share of the machine's cores that other programs took meanwhile; None where not known."""
    environment: dict[str, str]
    """The allocator's settings."""
    expression: str | None
    """Which cases were chosen; None for all."""
    failed: tuple[str, ...] = ()
    """Cases that ended in an error."""
    benchmarks: tuple[Case, ...]


def slim(report: Mapping[str, Any], leave_out: Collection[str] = ()) -> tuple[Case, ...]:
    """Return what is kept of the cases in pytest-benchmark's JSON, but for some ids."""
    return tuple(
        Case(
            name=case["name"],
            group=case["group"],
            stats=Stats(**{field: case["stats"][field] for field in Stats.model_fields}),
            extra_info=Found.model_validate(case["extra_info"]),
        )
        for case in report["benchmarks"]
        if case["fullname"] not in leave_out
    )


def write_bench(found: Bench, file: Path) -> None:
    """Write a run of the benchmarks, in one step.

    Raises:
        AdakdError: the file cannot be written.
    """
    with writing(file, file.parent):
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=".bench-", delete=False
        ) as stream:
            stream.write(found.model_dump_json(indent=1) + "\n")
        Path(stream.name).chmod(0o644)
        os.replace(stream.name, file)


def read_bench(file: Path) -> Bench | None:
    """Return a run of the benchmarks, or None where there is no such file.

    Raises:
        AdakdError: the file is something else.
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
            f"{file}: not what `adakd bench` of this version writes "
            f"({f'{where}: ' if where else ''}{first['msg']}); remove it or run `adakd bench` again"
        ) from None
