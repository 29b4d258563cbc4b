"""Local files of data sources and their row counts."""

from pathlib import Path

from adakd.config import Hub, Jsonl, Source, Suite
from adakd.errors import AdakdError


def rows_of(source: Source, suite: Suite) -> int | None:
    """Return the number of rows in a source; None where only the hub knows it."""
    if source.kind == "generated":
        rows = source.rows
    elif (file := local_file(source, suite)) is not None:
        with file.open("rb") as lines:
            rows = sum(1 for line in lines if line.strip())
    else:
        return source.limit
    return min(rows, source.limit or rows)


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
