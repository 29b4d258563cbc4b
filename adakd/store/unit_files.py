"""The files of units: models, and records until the owner of the run adds them to the others.

``units/KEY/results.jsonl`` is written by the process that does the unit, and by nobody else;
``results.jsonl`` of the run by its owner alone. So any number of processes work in one run folder,
and a unit whose owner is gone loses nothing.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar

from filelock import FileLock, Timeout

from adakd.errors import AdakdError
from adakd.store.records import Record, ScoreRecord
from adakd.store.store import Store

CELLS = "cells"
"""Folder of the models of a run."""
UNITS = "units"
"""Folder of the units' own folders in a run folder."""
LOCK = ".lock"
R = TypeVar("R", bound=Record)


class Finished(Protocol):
    """Looks finished work up."""

    def __contains__(self, key: object) -> bool:
        """Whether there is a record with this key."""
        ...

    def get(self, kind: type[R], key: str) -> R | None:
        """Return the record of a kind with this key."""
        ...

    def answered(self, answers: str) -> ScoreRecord | None:
        """Return a score that holds the texts of some answers, by their key."""
        ...


class Joined:
    """Finished work of several stores; the first that has a record counts."""

    def __init__(self, stores: Iterable[Finished]) -> None:
        self.stores = tuple(stores)

    def __contains__(self, key: object) -> bool:
        return any(key in store for store in self.stores)

    def get(self, kind: type[R], key: str) -> R | None:
        """Return the record of a kind with this key."""
        return next((found for one in self.stores if (found := one.get(kind, key))), None)

    def answered(self, answers: str) -> ScoreRecord | None:
        """Return a score that holds the texts of some answers, by their key."""
        return next((found for one in self.stores if (found := one.answered(answers))), None)


def model_folder(folder: Path, key: str) -> Path:
    """Return the folder that the model of a cell is saved in."""
    return folder / CELLS / key / "model"


def unit_store(folder: Path, key: str) -> Store:
    """Return the store of a unit's own records in a run folder."""
    return Store(folder / UNITS / key)


def finished(folder: Path, keys: Iterable[str]) -> Joined:
    """Return the finished work of a run folder, some units' own records included.

    Their own folders are read first: what the owner takes out of them meanwhile is in the run's.
    """
    own = [unit_store(folder, key) for key in keys]
    return Joined((*own, Store(folder)))


@contextmanager
def claimed(folder: Path, key: str, title: str, patience: float = 0) -> Iterator[None]:
    """Claim a unit for the block, so that no other process does it too.

    Args:
        folder: of the run.
        key: of the unit.
        title: what messages call it.
        patience: seconds to wait for another process, such as one that is about to be killed.

    Raises:
        AdakdError: another process is at it, or the folder cannot be written.
    """
    home = folder / UNITS / key
    lock = FileLock(home / LOCK)
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except Timeout:
        raise AdakdError(
            f"{title}: another adakd process works on this unit in {folder}; wait for it, and "
            "repeat the command"
        ) from None
    except OSError as error:
        raise AdakdError(f"{home}: {error.strerror}; choose another --out") from None
    try:
        yield
    finally:
        if not (home / "results.jsonl").exists():
            _remove(home)
        lock.release()


def take_in(store: Store, key: str) -> None:
    """Add a unit's own records to those of its run, and remove its folder."""
    own = unit_store(store.folder, key)
    if new := [one for one in own.written() if store.get(type(one), one.key) != one]:
        store.add(*new)
    _remove(own.folder)


def sweep(store: Store) -> None:
    """Take in the records of all units that nobody is working on."""
    for home in _homes(store.folder):
        with suppress(Timeout), FileLock(home / LOCK, timeout=0):
            take_in(store, home.name)


def untaken(folder: Path) -> Iterator[Store]:
    """Yield the stores of units whose records are not among those of their run yet."""
    for home in _homes(folder):
        if (own := Store(home)).exists:
            yield own


def _homes(folder: Path) -> list[Path]:
    """Return the folders of a run's units, in a fixed order."""
    return sorted((folder / UNITS).glob("*/"))


def _remove(home: Path) -> None:
    """Remove the folder of a unit, and that of all units with the last one."""
    shutil.rmtree(home, ignore_errors=True)
    with suppress(OSError):
        home.parent.rmdir()
