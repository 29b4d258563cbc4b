"""What a run leaves behind: records, appended one JSON line at a time, and never changed.

``results.jsonl`` alone makes the report. Every record carries the schema's version and the key
of what it tells of; reading it again after a crash drops at most an unfinished last line.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from filelock import FileLock, Timeout
from pydantic import Field, TypeAdapter, ValidationError

from adakd.config import Config, Suite
from adakd.disk import writing
from adakd.errors import AdakdError
from adakd.planning import Cell

SCHEMA = 1
Phase = Literal["teacher", "student", "loss", "backward", "optimizer"]
"""The parts of a training step: teacher forward, student forward, loss, backward, optimizer."""


class RunRecord(Config):
    """One start of the command: where, with what and how. The last one describes the run."""

    kind: Literal["run"] = "run"
    schema_version: int = SCHEMA
    key: str
    started: str
    """UTC, ISO 8601."""
    command: str
    suite: dict[str, Any]
    """The suite as resolved, overrides included."""
    suite_digest: str
    wanted: tuple[str, ...]
    """Keys of the cells, scores and timings of this run; others are of earlier settings."""
    versions: dict[str, str]
    hardware: dict[str, str]
    commit: str | None


class Step(Config):
    """One optimizer step of a training."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    kept_ratio: float
    """Share of the response tokens that the loss counted."""
    temperature: float
    """Mean over the kept tokens."""
    seconds: dict[Phase, float]


class TrainingRecord(Config):
    """A trained cell, or one that failed and why."""

    kind: Literal["training"] = "training"
    schema_version: int = SCHEMA
    key: str
    """The cell's key."""
    cell: Cell
    status: Literal["done", "failed"]
    reason: str | None = None
    steps: tuple[Step, ...] = ()
    seconds: float = 0.0
    parameters: int = 0
    trainable: int = 0
    rows: int = 0
    """Training rows after the filters."""
    left_out: int = 0
    """Rows whose prompt was too long or whose response was empty."""


class Item(Config):
    """One evaluated item."""

    id: str
    value: float | None
    """The metric as the task gives it (ROUGE-L in 0..1); None if it could not be scored."""
    answer: str | None = None
    """What the model wrote; None for tasks that do not generate."""


class ScoreRecord(Config):
    """One task on one cell with one sampling seed."""

    kind: Literal["score"] = "score"
    schema_version: int = SCHEMA
    key: str
    cell: Cell
    task: str
    sort: Literal["answers", "choice", "task"]
    """An instruction set, a multiple-choice task made of one, or any lm-eval task."""
    metric: str
    higher_is_better: bool = True
    sampling_seed: int | None
    value: float
    n: int
    unscored: int = 0
    seconds: float
    items: tuple[Item, ...]


class ExampleRecord(Config):
    """The text of an item that the report shows with the answers to it."""

    kind: Literal["example"] = "example"
    schema_version: int = SCHEMA
    key: str
    task: str
    item: str
    question: str
    reference: str


class TimedStep(Config):
    """A step of the overhead measurement."""

    arm: str
    seconds: dict[Phase, float]
    peak_bytes: int | None
    """Most memory in use during the step; None where the system cannot tell."""


class TimingRecord(Config):
    """Interleaved steps of a plain arm and an adaptive one, on the same batches."""

    kind: Literal["timing"] = "timing"
    schema_version: int = SCHEMA
    key: str
    divergence: str
    arm: str
    device: str
    tokens: int
    """Response tokens of a batch, on average."""
    pairs: tuple[tuple[TimedStep, TimedStep], ...]
    """The plain step and the adaptive one that followed or preceded it."""


Outcome = Literal["win", "loss", "tie", "flip", "failed", "identical"]


class VerdictRecord(Config):
    """What a judge said of one pair of answers in one order."""

    kind: Literal["verdict"] = "verdict"
    schema_version: int = SCHEMA
    key: str
    judge: str
    """Name and digest of the judge, such as ``rule@0123abcd``."""
    against: str
    """What the candidate was compared with: ``plain``, ``teacher``, ``reference``, a method."""
    candidate: Cell
    opponent: Cell | None
    """None where the opponent is the reference answer."""
    task: str
    item: str
    sampling_seed: int | None
    candidate_first: bool
    """Which order this verdict is of; both are always asked."""
    verdict: Literal["candidate", "opponent", "tie", "failed", "identical"]
    reason: str
    """The judge's text, or why it failed; empty for a rule."""
    seconds: float
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


Record = RunRecord | TrainingRecord | ScoreRecord | ExampleRecord | TimingRecord | VerdictRecord
_ADAPTER: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
R = TypeVar("R", bound=Record)


class Store:
    """The records of a run folder; ``key in store`` tells whether a part is done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "results.jsonl"
        self._records: dict[tuple[type, str], Record] = {}
        self._keys: set[str] = set()
        self._end = 0
        for record in self._read():
            self._remember(record)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def of(self, kind: type[R]) -> list[R]:
        """Return the records of a kind, the newest of each key, in the order of first writing."""
        return [record for record in self._records.values() if isinstance(record, kind)]

    def get(self, kind: type[R], key: str) -> R | None:
        """Return the record of a kind with this key."""
        record = self._records.get((kind, key))
        return record if isinstance(record, kind) else None

    def current(self, kind: type[R]) -> list[R]:
        """Return the cells, scores or timings that belong to the last run's settings."""
        runs = self.of(RunRecord)
        wanted = set(runs[-1].wanted) if runs else self._keys
        return [record for record in self.of(kind) if record.key in wanted]

    def suite(self) -> Suite:
        """Return the suite of the last run in this folder.

        Raises:
            AdakdError: there has been none.
        """
        runs = self.of(RunRecord)
        if not runs:
            raise AdakdError(f"{self.folder}: no run here; start one with `adakd run`")
        return Suite.model_validate(runs[-1].suite)

    def add(self, record: Record) -> None:
        """Append a record and flush it to the disk; a half-written last line is overwritten.

        Raises:
            AdakdError: the disk is full or the folder cannot be written.
        """
        with writing(self.file, self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.file.touch()
            with self.file.open("rb+") as stream:
                stream.truncate(self._end)
                stream.seek(self._end)
                stream.write(record.model_dump_json().encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
                self._end = stream.tell()
        self._remember(record)

    def _remember(self, record: Record) -> None:
        self._records[type(record), record.key] = record
        self._keys.add(record.key)

    def _read(self) -> Iterator[Record]:
        content = self.file.read_bytes() if self.file.exists() else b""
        self._end = content.rfind(b"\n") + 1  # killed while writing: that part is done again
        for number, line in enumerate(content[: self._end].splitlines(), start=1):
            try:
                yield _ADAPTER.validate_json(line)
            except ValidationError as error:
                raise AdakdError(
                    f"{self.file}, line {number}: not a record of this version of adakd "
                    f"({error.errors()[0]['msg']}); choose another --out folder"
                ) from None


def locked(folder: Path) -> FileLock:
    """Return the held lock of a run folder; released on exit of its ``with``, or by a crash.

    Raises:
        AdakdError: another process works in this folder, or it cannot be written.
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
