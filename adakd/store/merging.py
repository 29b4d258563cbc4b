"""Runs made on several machines -> one run. Needs no torch.

Records are united by kind and key. Nothing is measured twice, so two records of one key must have
one value; only times may differ, and where both machines timed the same steps, the first counts.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from adakd.config import Suite
from adakd.config.hashing import digest
from adakd.errors import AdakdError
from adakd.planning import Cell
from adakd.planning.keys import suite_digest
from adakd.store.disk import sync_tree, write_atomically, writing
from adakd.store.origins import Name, joined, machine, name_of, origins
from adakd.store.records import (
    Record,
    RunRecord,
    ScoreRecord,
    StopRecord,
    TimingRecord,
    TrainingRecord,
    VerdictRecord,
    VettingRecord,
)
from adakd.store.store import Store, locked
from adakd.store.unit_files import untaken
from adakd.store.uniting import united

SUITE = "suite.yaml"
"""The united suite in the folder of the merged run: its comparisons go on from there."""
_SHOWN = 3
"""Most fields of a conflict that a message names."""
_CHUNK = 1000
"""Records written at once."""


@dataclass
class Merged:
    """What a merging did."""

    folder: Path
    runs: int
    added: int = 0
    """Records that the folder did not have."""
    shared: int = 0
    """Records of several runs."""
    linked: int = 0
    """Models whose files are those of a run, by hard links."""
    copied: int = 0
    absent: list[str] = field(default_factory=list)
    """Keys of trained cells whose model no run holds any more."""

    def __str__(self) -> str:
        """Return one line."""
        models = [f"{self.linked} linked", f"{self.copied} copied"]
        models += [f"{len(self.absent)} not there"] if self.absent else []
        return (
            f"merged {self.runs} runs: {self.added:,} records added, {self.shared:,} in several "
            f"runs and equal; models: {', '.join(models)}"
        )


@dataclass(frozen=True)
class _Run:
    """A run to merge."""

    store: Store
    suite: Suite
    start: RunRecord
    """The last one: it says what the run holds."""
    origins: Mapping[Name, RunRecord | None]
    untaken: tuple[Record, ...]
    """Those of units that the owner of the run has not taken in, as of another node's last work."""

    @classmethod
    def of(cls, folder: Path) -> "_Run":
        store = Store(folder)
        suite, start = store.suite(), store.of(RunRecord)[-1]
        found = tuple(record for own in untaken(folder) for record in own.written())
        made = {name_of(record): start for record in found}
        return cls(store, suite, start, {**made, **origins(store)}, found)

    @property
    def name(self) -> str:
        return str(self.store.folder)

    def written(self) -> Iterator[Record]:
        """Yield all records; of several with one name the last counts."""
        yield from self.store.written()
        yield from self.untaken

    def scores(self) -> Iterator[ScoreRecord]:
        """Yield the scores that belong to the run."""
        yield from self.store.current(ScoreRecord)
        yield from (one for one in self.untaken if isinstance(one, ScoreRecord))

    def training(self, key: str) -> TrainingRecord | None:
        """Return the record of a cell's training."""
        own = (one for one in self.untaken if isinstance(one, TrainingRecord) and one.key == key)
        return next(own, None) or self.store.get(TrainingRecord, key)


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Unite runs of one suite in a folder. The runs are not changed.

    What `out` holds already is kept, so that the same command twice does nothing the second time.

    Args:
        folders: of two runs or more, the first of which counts where places or times differ.
        out: gets the records, the models and the united suite, ``suite.yaml``. Models are hard
            links where `out` is on the disk of their run, and copies elsewhere.

    Raises:
        AdakdError: fewer than two runs, runs of different suites, or a record with another value
            under the same key.
    """
    if len({folder.resolve() for folder in folders}) < 2:
        raise AdakdError("merge takes the folders of two runs or more")
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise AdakdError(f"--out {out}: is one of the runs to merge: choose another folder")
    runs = [_Run.of(folder) for folder in folders]
    suite = united([(run.name, run.suite) for run in runs])
    _check_keys(runs)
    with locked(out):
        target = Store(out)
        done = Merged(out, len(runs))
        added = _added(target, runs, done)
        start = _start(runs, suite)
        if start.key not in target:
            added.append(start)
        _keep_models(runs, out, done)
        records = iter(added)
        while chunk := [*islice(records, _CHUNK)]:
            target.add(*chunk)
        done.added = len(added)
        with writing(out / SUITE, out):
            write_atomically(out / SUITE, _suite_text(suite, out))
    return done


def _check_keys(runs: Sequence[_Run]) -> None:
    """Check that equal cells and scorings have equal keys: that their files have one content.

    Raises:
        AdakdError: a model or data file, or another version of adakd, gives another key.
    """
    cells: dict[tuple[str, int], tuple[str, _Run]] = {}
    scorings: dict[tuple[Any, ...], tuple[str, _Run]] = {}
    for run in runs:
        for cell in run.start.cells:
            key, first = cells.setdefault((cell.method, cell.seed), (cell.key, run))
            if key != cell.key:
                raise AdakdError(
                    f"{cell} has another key in {run.name} than in {first.name}: a file of a model "
                    "or of the data has another content, or adakd another version "
                    f"({machine(run.start)}; {machine(first.start)}); merge runs of one version "
                    "on equal files"
                )
        for score in run.scores():
            cell = score.cell
            place = (cell.method, cell.seed, score.task, score.metric, score.sampling_seed)
            key, first = scorings.setdefault(place, (score.key, run))
            if key != score.key:
                raise AdakdError(
                    f"{cell} on {score.task} ({score.title}) has another key in {run.name} "
                    f"than in {first.name}: the items or the scoring differ; merge runs that are "
                    "scored on equal files"
                )


def _added(target: Store, runs: Sequence[_Run], done: Merged) -> list[Record]:
    """Return the records that `target` lacks.

    Raises:
        AdakdError: two records of one key have two values.
    """
    known: dict[Name, tuple[Record, str, Mapping[Name, RunRecord | None]]] = {}
    of_target = origins(target) if target.exists else {}
    for record in target.written() if target.exists else ():
        known[name_of(record)] = (record, str(target.folder), of_target)
    in_target, added = set(known), dict[Name, Record]()
    for run in runs:
        latest = {name_of(record): record for record in run.written()}
        for name, record in latest.items():
            if name not in known:
                known[name] = (record, run.name, run.origins)
                added[name] = record
                continue
            before, folder, made = known[name]
            if name not in in_target and record.kind != "run":
                done.shared += 1
            kept = _preferred(before, record)
            if kept is None:
                raise AdakdError(
                    _conflict(
                        before,
                        record,
                        f"{folder} ({machine(made.get(name))})",
                        f"{run.name} ({machine(run.origins.get(name))})",
                    )
                )
            if kept is record and record != before:
                known[name] = (record, run.name, run.origins)
                added[name] = record
    return [*added.values()]


def _preferred(before: Record, record: Record) -> Record | None:
    """Return the record to keep of two with one key; None where they contradict each other."""
    if isinstance(before, TimingRecord | RunRecord):
        return before
    if isinstance(before, StopRecord) and isinstance(record, StopRecord):
        return record if record.prompts > before.prompts else before  # judged further
    if isinstance(before, VerdictRecord | VettingRecord):
        assert isinstance(record, VerdictRecord | VettingRecord)
        if "failed" in (before.verdict, record.verdict):
            return record if before.verdict == "failed" else before
        return before if before.verdict == record.verdict else None
    return before if _value(before) == _value(record) else None


def _value(record: Record) -> Any:
    """Return what a record says, without the times that it took."""
    return _timeless(record.model_dump(mode="json", exclude={"schema_version"}))


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(inner) for name, inner in value.items() if name != "seconds"}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _conflict(before: Record, record: Record, ours: str, theirs: str) -> str:
    """Return the message for two records of one key with different values."""
    fields = [*_differing(_value(before), _value(record))]
    more = f" and {len(fields) - _SHOWN} more" if len(fields) > _SHOWN else ""
    of = getattr(record, "cell", None) or getattr(record, "name", None) or record.key
    task = f" on {record.task}" if isinstance(record, ScoreRecord) else ""
    return (
        f"the {record.kind} of {of}{task} (key {record.key}) differs between {ours} and {theirs} "
        f"in {', '.join(fields[:_SHOWN])}{more}; start one machine from a copy of the other's "
        f"folder, so that each cell is made once; `adakd compare` shows how far the runs differ"
    )


def _differing(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield the fields with another value, by dotted path."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            yield from _differing(one.get(name), other.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _differing(*pair, f"{path}.{number}")
    elif one != other:
        yield path


def _start(runs: Sequence[_Run], suite: Suite) -> RunRecord:
    """Return the record of the merged run: the cells, columns and keys of all runs."""
    starts = [run.start for run in runs]
    content = suite.model_dump(mode="json")
    cells = {cell.key: cell for start in starts for cell in start.cells}
    commits = dict.fromkeys(start.commit for start in starts if start.commit)
    return RunRecord(
        key=digest("merged", [start.key for start in starts]),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=f"adakd merge of {len(runs)} runs: {'; '.join(start.command for start in starts)}",
        suite=content,
        suite_digest=suite_digest(suite),
        parts=tuple({p.model_dump_json(): p for start in starts for p in start.parts}.values()),
        cells=tuple(_by_method([*cells.values()], suite)),
        tasks=tuple({task.key: task for start in starts for task in start.tasks}.values()),
        wanted=tuple(dict.fromkeys(key for start in starts for key in start.wanted)),
        versions=joined([start.versions for start in starts]),
        hardware=joined([start.hardware for start in starts]),
        commit=" and ".join(commits) or None,
    )


def _by_method(cells: Sequence[Cell], suite: Suite) -> list[Cell]:
    """Return cells in the order of their methods, each by seeds as the suite has them."""
    methods = {method: place for place, method in enumerate(dict.fromkeys(c.method for c in cells))}
    seeds = {seed: place for place, seed in enumerate(suite.seeds)}
    return sorted(cells, key=lambda c: (methods[c.method], seeds.get(c.seed, len(seeds))))


def _suite_text(suite: Suite, out: Path) -> str:
    """Return the suite as a file in `out`: places in it are relative to the file that names them.

    Folders of models stay as they are: they are relative to the working directory everywhere.
    """
    content = suite.model_dump(mode="json")
    nodes = [(content, "plugins"), (content["data"], "folder"), (content["data"]["train"], "path")]
    nodes += [(source, "path") for source in content["evaluation"]["sets"].values()]
    nodes.append((content["evaluation"], "include_path"))
    for node, name in nodes:
        if isinstance(node.get(name), list):
            node[name] = [os.path.relpath(path, out) for path in node[name]]
        elif node.get(name):
            node[name] = os.path.relpath(node[name], out)
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _keep_models(runs: Sequence[_Run], out: Path, done: Merged) -> None:
    """Link or copy the models of all cells; a folder appears whole or not at all."""
    trained = dict.fromkeys(cell.key for run in runs for cell in run.start.cells)
    for key in trained:
        target = out / "cells" / key / "model"
        if target.exists():
            continue
        record = next((record for run in runs if (record := run.training(key)) is not None), None)
        if record is None or not record.files:
            continue
        folders = (run.store.folder / "cells" / key / "model" for run in runs)
        source = next((folder for folder in folders if folder.is_dir()), None)
        if source is None:
            done.absent.append(key)
            continue
        draft = target.with_name(".model")
        shutil.rmtree(draft, ignore_errors=True)  # of a merging that was killed
        with writing(target, out):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copytree(source, draft, copy_function=os.link)
                done.linked += 1
            except (OSError, shutil.Error):  # another disk, or one without links
                shutil.rmtree(draft, ignore_errors=True)
                shutil.copytree(source, draft)
                sync_tree(draft)
                done.copied += 1
            os.replace(draft, target)
