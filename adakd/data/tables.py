"""Files of rows as mappings: JSON Lines, JSON arrays, CSV, TSV and Parquet, also compressed."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from adakd.errors import AdakdError

_FOREIGN = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "a database",
    b"version https://git-lfs": "a Git LFS pointer instead of the data",
    b"%PDF": "a PDF",
}
"""First bytes of files that are often given for rows."""
_EXPECTED = "expected JSON Lines, a JSON array, CSV or Parquet"


class Record(NamedTuple):
    """One row of a file."""

    where: str
    """Its place in the file, such as ``line 3``."""
    fields: Any
    """A mapping; any other JSON value is left to the reader to refuse."""


def records(file: Path) -> Iterator[Record]:
    """Yield the rows of a file; its content decides the format, and for CSV its name.

    Raises:
        AdakdError: the file cannot be read, or a row is malformed.
    """
    try:
        content = _decompressed(file.read_bytes())
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise AdakdError(f"{file}: cannot be read or decompressed: {error}") from None
    for start, sort in _FOREIGN.items():
        if content.startswith(start):
            raise AdakdError(f"{file}: {sort}; {_EXPECTED}")
    if content.startswith(b"PAR1"):
        return _parquet(file, content)
    content = content.removeprefix(b"\xef\xbb\xbf")
    if (suffix := _suffix(file)) in {".csv", ".tsv"}:
        return _csv(file, content, "\t" if suffix == ".tsv" else ",")
    if content.lstrip()[:1] == b"[":
        return _array(file, content)
    return _lines(file, content)


def _decompressed(content: bytes) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"BZh"):
        return bz2.decompress(content)
    if content.startswith(b"\xfd7zXZ\x00"):
        return lzma.decompress(content)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow

        stream: bytes = pyarrow.CompressedInputStream(pyarrow.BufferReader(content), "zstd").read()
        return stream
    return content


def _suffix(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in {".gz", ".bz2", ".xz", ".zst"}:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _lines(file: Path, content: bytes) -> Iterator[Record]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            yield Record(where, _json(line))
        except ValueError as error:
            spread = " (an object over several lines)" if _is_object(content) else ""
            raise AdakdError(f"{file}, {where}: {error}{spread}; {_EXPECTED}") from None


def _is_object(content: bytes) -> bool:
    try:
        return isinstance(_json(content), dict)
    except ValueError:
        return False


def _array(file: Path, content: bytes) -> Iterator[Record]:
    try:
        rows = _json(content)
    except ValueError as error:
        raise AdakdError(f"{file}: starts as a JSON array: {error}; {_EXPECTED}") from None
    for number, row in enumerate(rows, start=1):
        yield Record(f"row {number}", row)


def _json(content: bytes) -> Any:
    """Parse JSON in UTF-8.

    Raises:
        ValueError: it is something else, or nested too deeply.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _csv(file: Path, content: bytes, delimiter: str) -> Iterator[Record]:
    limit = csv.field_size_limit(len(content) + 1)
    try:
        text = io.StringIO(content.decode("utf-8"), newline="")
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise AdakdError(f"{file}, line 1: two columns of one name; {', '.join(header)}")
        for cells in reader:
            where = f"line {reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise AdakdError(
                    f"{file}, {where}: {len(cells)} cells under {len(header)} column names"
                )
            yield Record(where, dict(zip(header, cells, strict=True)))
    except UnicodeDecodeError as error:
        raise AdakdError(f"{file}: {error}; save the file in UTF-8") from None
    except csv.Error as error:
        raise AdakdError(f"{file}, line {reader.line_num}: {error}") from None
    finally:
        csv.field_size_limit(limit)


def _parquet(file: Path, content: bytes) -> Iterator[Record]:
    import pyarrow
    from pyarrow import parquet

    try:
        rows = parquet.read_table(io.BytesIO(content)).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise AdakdError(f"{file}: damaged Parquet file: {error}") from None
    for number, row in enumerate(rows, start=1):
        yield Record(f"row {number}", row)
