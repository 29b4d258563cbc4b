"""Local files of data sources and their row counts."""

from functools import lru_cache
from pathlib import Path

from adakd.config import Hub, Jsonl, Source, Suite
from adakd.data.tables import records
from adakd.errors import AdakdError


def rows_of(source: Source, suite: Suite) -> int | None:
    """Return the number of rows in a source; None where only the hub knows it."""
    if source.kind == "generated":
        rows = source.rows
    elif (file := local_file(source, suite)) is not None:
        found = file.stat()
        rows = _count(file, found.st_size, found.st_mtime_ns)
    else:
        return source.limit
    return min(rows, source.limit or rows)


@lru_cache
def _count(file: Path, size: int, changed: int) -> int:
    """Return the number of rows in a file, rereading it only if size or time changed."""
    return sum(1 for _ in records(file))


def is_local(source: Source, suite: Suite) -> bool:
    """Return whether a source needs no hub."""
    return source.kind == "generated" or local_file(source, suite) is not None


def local_file(source: Jsonl | Hub, suite: Suite) -> Path | None:
    """Return the local file of a source; None where it is loaded from the hub.

    Raises:
        AdakdError: the file does not exist.
    """
    if source.kind == "jsonl":
        file = source.path
    elif suite.data.folder is not None and source.local is not None:
        file = suite.data.folder / source.local
    else:
        return None
    if not file.is_file():
        raise AdakdError(
            f"suite {suite.name!r}: data file {file} does not exist; "
            "fix its path in the suite, or set data.folder"
        )
    return file
