"""The store of a run's records: JSON lines, appended and never changed.

The report needs ``results.jsonl`` alone. Reading it after a crash drops at most an unfinished
last line. Without it, the compressed ``results.jsonl.gz`` of a published run is read; such a run
cannot be continued until its records are decompressed.

A store remembers where the record of each kind and key is, and reads it when it is asked for: a run
of many cells has more records than fit in memory.
"""

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar, get_args

from filelock import FileLock, Timeout
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from adakd.config import Suite
from adakd.errors import AdakdError, one_line
from adakd.store.disk import writing
from adakd.store.records import SCHEMA, Record, RunRecord, ScoreRecord, VerdictRecord
from adakd.store.upgrade import upgraded


class _Head(BaseModel):
    """What the store knows of a record without reading all of it."""

    kind: str
    schema_version: int
    key: str
    answers: str = ""


_ADAPTER: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
_KINDS: dict[str, type[Record]] = {of.model_fields["kind"].default: of for of in get_args(Record)}
_VERDICT = re.compile(rb'"kind"\s*:\s*"verdict"')
_FIRST_SCHEMA = re.compile(rb'"schema_version"\s*:\s*1\b')
"""Marks of certain records, found in no other: within a text the quotes are escaped."""
_TEXT = re.compile(rb'"answer"\s*:\s*"')
"""Mark of a score that holds the texts of its answers."""
R = TypeVar("R", bound=Record)


class Store:
    """The records of a run folder; ``key in store`` is true for finished work.

    Opening it finds the place of each record, and that each line is one; the contents are read and
    checked when they are asked for.

    Raises:
        AdakdError: a line is no record, or one of a newer version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "results.jsonl"
        self._compressed = folder / "results.jsonl.gz"
        self._places: dict[type, dict[str, int]] = {kind: {} for kind in _KINDS.values()}
        """Where the newest record of each kind and key starts, in order of first writing."""
        self._with_texts: dict[str, str] = {}
        self._end = 0
        for place, line in self._lines():
            if not _VERDICT.search(line):
                self._find(place, line)

    def __contains__(self, key: object) -> bool:
        return any(key in places for places in self._places.values())

    @property
    def source(self) -> Path:
        """The file that the records are in: compressed ones count where there are no others."""
        is_compressed = not self.file.exists() and self._compressed.exists()
        return self._compressed if is_compressed else self.file

    @property
    def exists(self) -> bool:
        """Whether the folder has records."""
        return any(self._places.values())

    def each(self, kind: type[R]) -> Iterator[R]:
        """Yield the records of a kind, the latest of each key, in order of first writing."""
        if kind is VerdictRecord:
            lines = (found for found in self._lines() if _VERDICT.search(found[1]))
            verdicts = (self._record(place, line) for place, line in lines)
            yield from {r.key: r for r in verdicts if isinstance(r, kind)}.values()
        else:
            yield from self._at(kind, self._places[kind].values())

    def of(self, kind: type[R]) -> list[R]:
        """Return all that :meth:`each` yields."""
        return list(self.each(kind))

    def count(self, kind: type[R]) -> int:
        """Return the number of keys with a record of a kind, verdicts left out."""
        return len(self._places[kind])

    def written(self) -> Iterator[Record]:
        """Yield every record in the order of writing, those that were replaced since too.

        Verdicts come last.
        """
        for of_verdicts in (False, True):
            lines = (one for one in self._lines() if bool(_VERDICT.search(one[1])) is of_verdicts)
            yield from (self._record(place, line) for place, line in lines)

    def get(self, kind: type[R], key: str) -> R | None:
        """Return the record of a kind with this key."""
        place = self._places[kind].get(key)
        return None if place is None else next(self._at(kind, [place]))

    def last(self, kind: type[R]) -> R | None:
        """Return the record of a kind whose key was written last; None without any."""
        key = next(reversed(self._places[kind]), None)
        return None if key is None else self.get(kind, key)

    def each_current(self, kind: type[R]) -> Iterator[R]:
        """Yield the records of a kind that belong to the settings of the last run."""
        wanted, places = self._wanted, self._places[kind]
        kept = (place for key, place in places.items() if wanted is None or key in wanted)
        yield from self._at(kind, kept)

    def current(self, kind: type[R]) -> list[R]:
        """Return all that :meth:`each_current` yields."""
        return list(self.each_current(kind))

    def scores(self) -> list[ScoreRecord]:
        """Return the scores of the last run's settings, each with the texts of its answers."""
        return [self.with_texts(score) for score in self.each_current(ScoreRecord)]

    def answered(self, answers: str) -> ScoreRecord | None:
        """Return a score that holds the texts of some answers, by their key; of any settings."""
        return self.get(ScoreRecord, self._with_texts.get(answers, ""))

    def with_texts(self, score: ScoreRecord) -> ScoreRecord:
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
        run = self.last(RunRecord)
        if run is None:
            raise AdakdError(f"{self.folder}: no run here; start one with `adakd run`")
        try:
            return Suite.model_validate(run.suite)
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
        lines = [record.model_dump_json().encode() + b"\n" for record in records]
        place = self._end
        with writing(self.file, self.folder), self._opened() as stream:
            stream.truncate(self._end)
            stream.seek(self._end)
            stream.write(b"".join(lines))
            stream.flush()
            if not all(isinstance(record, VerdictRecord) for record in records):
                os.fsync(stream.fileno())
            self._end = stream.tell()
        for record, line in zip(records, lines, strict=True):
            if not isinstance(record, VerdictRecord):
                self._find(place, line)
            place += len(line)

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

    def _find(self, place: int, line: bytes) -> None:
        """Remember where a record is.

        Raises:
            AdakdError: the line is none, or one of a newer version.
        """
        try:
            head = _Head.model_validate_json(line)
            places = self._places[_KINDS[head.kind]]
        except (ValidationError, KeyError):
            self._record(place, line)  # tells what is wrong
            raise AdakdError(_unreadable(self._where(place), line, ValueError("no head"))) from None
        if head.schema_version > SCHEMA:
            raise AdakdError(_newer(self._where(place), head.schema_version))
        places[head.key] = place
        if head.kind == "run":
            vars(self).pop("_wanted", None)
        if head.kind == "score" and _TEXT.search(line):
            self._with_texts[head.answers or head.key] = head.key

    @cached_property
    def _wanted(self) -> frozenset[str] | None:
        """The keys of the last run's settings; None where there was no run: then all count."""
        run = self.last(RunRecord)
        return None if run is None else frozenset(run.wanted)

    @cached_property
    def _content(self) -> bytes:
        """The records of a compressed file."""
        try:
            return gzip.decompress(self._compressed.read_bytes())
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise AdakdError(f"{self._compressed}: {error}; copy the file again") from None

    def _stream(self) -> BinaryIO:
        """Open the records for reading; there may be none."""
        if self.file.exists():
            return self.file.open("rb")
        return BytesIO(self._content if self._compressed.exists() else b"")

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield each line that is not blank, with the place where it starts."""
        place = 0
        with self._stream() as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break  # killed while writing: that work is done again
                if line.strip():
                    yield place, line
                place += len(line)
        self._end = place

    def _at(self, kind: type[R], places: Iterable[int]) -> Iterator[R]:
        """Yield the records of a kind at some places."""
        with self._stream() as stream:
            for place in places:
                stream.seek(place)
                record = self._record(place, stream.readline())
                assert isinstance(record, kind)  # as its head says
                yield record

    def _record(self, place: int, line: bytes) -> Record:
        """Return the record of a line.

        Raises:
            AdakdError: it is none, or one of a newer version.
        """
        try:
            if _FIRST_SCHEMA.search(line):
                record = _ADAPTER.validate_python(upgraded(json.loads(line)))
            else:
                record = _ADAPTER.validate_json(line)
        except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise AdakdError(_unreadable(self._where(place), line, error)) from None
        if record.schema_version > SCHEMA:
            raise AdakdError(_newer(self._where(place), record.schema_version))
        return record

    def _where(self, place: int) -> str:
        """Return the file and the number of the line at a place, for messages."""
        with self._stream() as stream:
            before = stream.read(place).count(b"\n")
        return f"{self.source}, line {before + 1}"


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
