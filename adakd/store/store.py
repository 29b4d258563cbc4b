"""The store of a run's records: JSON lines, appended and never changed.

The report needs ``results.jsonl`` alone. Reading it after a crash drops at most an unfinished
last line. Without it, the compressed ``results.jsonl.gz`` of a published run is read; such a run
cannot be continued until its records are decompressed.
"""

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

from filelock import FileLock, Timeout
from pydantic import Field, TypeAdapter, ValidationError

from adakd.config import Suite
from adakd.errors import AdakdError, one_line
from adakd.store.disk import writing
from adakd.store.records import SCHEMA, Record, RunRecord, ScoreRecord, VerdictRecord
from adakd.store.upgrade import upgraded

_ADAPTER: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
_VERDICT, _FIRST_SCHEMA = b'"kind":"verdict"', b'"schema_version":1,'
"""Marks of certain records, found in no other: within a text the quotes are escaped."""
R = TypeVar("R", bound=Record)


class Store:
    """The records of a run folder; ``key in store`` is true for finished work.

    Verdicts can be many and long: they are read from the file when asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "results.jsonl"
        self._compressed = folder / "results.jsonl.gz"
        self._records: dict[tuple[type, str], Record] = {}
        self._keys: set[str] = set()
        self._with_texts: dict[str, str] = {}
        self._end = 0
        for record in self._read(verdicts=False):
            self._remember(record)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    @property
    def source(self) -> Path:
        """The file that the records are in: compressed ones count where there are no others."""
        is_compressed = not self.file.exists() and self._compressed.exists()
        return self._compressed if is_compressed else self.file

    @property
    def exists(self) -> bool:
        """Whether the folder has records."""
        return bool(self._records)

    def of(self, kind: type[R]) -> list[R]:
        """Return the records of a kind, the latest of each key, in order of first writing."""
        if kind is VerdictRecord:
            found = {r.key: r for r in self._read(verdicts=True) if isinstance(r, kind)}
            return list(found.values())
        return [record for record in self._records.values() if isinstance(record, kind)]

    def written(self) -> Iterator[Record]:
        """Yield every record in the order of writing, those that were replaced since too.

        Verdicts come last.
        """
        yield from self._read(verdicts=False)
        yield from self._read(verdicts=True)

    def get(self, kind: type[R], key: str) -> R | None:
        """Return the record of a kind with this key."""
        record = self._records.get((kind, key))
        return record if isinstance(record, kind) else None

    def current(self, kind: type[R]) -> list[R]:
        """Return the records of a kind that belong to the settings of the last run."""
        runs = self.of(RunRecord)
        wanted = set(runs[-1].wanted) if runs else self._keys
        return [record for record in self.of(kind) if record.key in wanted]

    def scores(self) -> list[ScoreRecord]:
        """Return the scores of the last run's settings, each with the texts of its answers."""
        return [self._completed(score) for score in self.current(ScoreRecord)]

    def answered(self, answers: str) -> ScoreRecord | None:
        """Return a score that holds the texts of some answers, by their key; of any settings."""
        return self.get(ScoreRecord, self._with_texts.get(answers, ""))

    def _completed(self, score: ScoreRecord) -> ScoreRecord:
        """Return a score with the texts that another metric's record of the same answers holds."""
        source = None if score.has_texts else self.answered(score.answers)
        if source is None:
            return score
        texts = {item.id: item.answer for item in source.items}
        items = tuple(
            item.model_copy(update={"answer": texts.get(item.id)}) for item in score.items
        )
        return score.model_copy(update={"items": items})

    def suite(self) -> Suite:
        """Return the suite of the last run in this folder.

        Raises:
            AdakdError: there has been none, or it is of another version of adakd.
        """
        runs = self.of(RunRecord)
        if not runs:
            raise AdakdError(f"{self.folder}: no run here; start one with `adakd run`")
        try:
            return Suite.model_validate(runs[-1].suite)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise AdakdError(
                f"{self.file}: the suite of this run is of another version of adakd ({field}: "
                f"{first['msg']}); use that version, or start the run again with this one"
            ) from None

    def add(self, *records: Record) -> None:
        """Append records, over a half-written last line if there is one.

        They survive a killed process. All are synced to the disk on return but verdicts, of
        which there may be thousands a second.

        Raises:
            AdakdError: the disk is full, the folder cannot be written, or its records are
                compressed.
        """
        lines = b"".join(record.model_dump_json().encode() + b"\n" for record in records)
        with writing(self.file, self.folder), self._opened() as stream:
            stream.truncate(self._end)
            stream.seek(self._end)
            stream.write(lines)
            stream.flush()
            if not all(isinstance(record, VerdictRecord) for record in records):
                os.fsync(stream.fileno())
            self._end = stream.tell()
        for record in records:
            self._remember(record)

    def _opened(self) -> BinaryIO:
        try:
            return self.file.open("rb+")
        except FileNotFoundError:
            if self._compressed.exists():
                raise AdakdError(
                    f"{self._compressed}: compressed records are read-only; decompress them first: "
                    f"gunzip {self._compressed}"
                ) from None
            self.folder.mkdir(parents=True, exist_ok=True)
            return self.file.open("wb+")

    def _remember(self, record: Record) -> None:
        if isinstance(record, VerdictRecord):
            return
        self._records[type(record), record.key] = record
        self._keys.add(record.key)
        if isinstance(record, ScoreRecord) and record.has_texts:
            self._with_texts[record.answers] = record.key

    def _content(self) -> tuple[Path, bytes]:
        """Return the file of the records and what it holds, decompressed."""
        if self.file.exists() or not self._compressed.exists():
            return self.file, self.file.read_bytes() if self.file.exists() else b""
        try:
            return self._compressed, gzip.decompress(self._compressed.read_bytes())
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise AdakdError(f"{self._compressed}: {error}; copy the file again") from None

    def _read(self, verdicts: bool) -> Iterator[Record]:
        """Yield either the verdicts or all other records."""
        file, content = self._content()
        self._end = content.rfind(b"\n") + 1  # killed while writing: that work is done again
        for number, line in enumerate(content[: self._end].splitlines(), start=1):
            if (_VERDICT in line) is not verdicts or not line.strip():
                continue
            try:
                if _FIRST_SCHEMA in line:
                    record = _ADAPTER.validate_python(upgraded(json.loads(line)))
                else:
                    record = _ADAPTER.validate_json(line)
            except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
                raise AdakdError(_unreadable(f"{file}, line {number}", line, error)) from None
            if record.schema_version > SCHEMA:
                raise AdakdError(_newer(f"{file}, line {number}", record.schema_version))
            yield record


def _unreadable(where: str, line: bytes, error: Exception) -> str:
    """Return the message for a line that is no record: what is wrong, and what deleting costs."""
    try:
        content = json.loads(line)
        version, kind = content.get("schema_version"), content.get("kind")
    except (ValueError, AttributeError, RecursionError):
        version, kind = None, None
    if isinstance(version, int) and version > SCHEMA:
        return _newer(where, version)
    why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else one_line(error)
    work = f"the {kind} that it recorded" if isinstance(kind, str) else "what it recorded"
    return f"{where}: not a record ({why}); delete this line: only {work} is done again"


def _newer(where: str, version: int) -> str:
    return (
        f"{where}: a record of a newer adakd (schema {version}; this one reads up to {SCHEMA}): "
        "update adakd"
    )


def locked(folder: Path) -> FileLock:
    """Acquire and return the lock of a run folder; released by its ``with``, or by a crash.

    Raises:
        AdakdError: another process uses this folder, or it cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise AdakdError(
            f"{folder}: another adakd process works here; wait for it or choose another --out"
        ) from None
    except OSError as error:
        raise AdakdError(f"{folder}: {error.strerror}; choose another --out") from None
    return lock
