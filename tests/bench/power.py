"""A disk that can lose power: it keeps what was written through to it, and what chance adds."""

import json
import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOSSES = ("all", "contents", "some")
"""What a cut takes of the rest: all of it; the contents of files alone, whose names are there; or
some of the names and the ends of some files."""
Tree = dict[str, Any]
"""A folder: by its name, the bytes of a file or the tree of a folder."""


class Disk:
    """Remembers which files and names under a folder were written through by ``os.fsync``.

    A file's content is safe once the file was synced, its name once its folder was. Without that
    either may be lost: a name may be absent, or still mean what it meant at the last sync; a file
    may end early, or in zeros. Nothing that was synced is lost.

    Works where ``/proc/self/fd`` does. A library that syncs by itself counts as one that does not.

    Args:
        folder: what is watched.
        memory: an empty folder elsewhere, for what is safe; survives the death of the process.
    """

    def __init__(self, folder: Path, memory: Path) -> None:
        self.folder, self.memory = folder, memory
        self._open: dict[int, int] = {}

    def watch(self) -> None:
        """Take all that is there as safe, and follow the syncs of this process from here on."""
        for path in (self.folder, *self.folder.rglob("*")):
            descriptor = os.open(path, os.O_RDONLY)
            self._remember(descriptor)
            os.close(descriptor)
        os.fsync = self._remember

    def cut(self, chance: random.Random, losses: str) -> None:
        """Put the folder into a state that a power cut can leave; its process has ended.

        Args:
            chance: decides what is lost.
            losses: one of :data:`LOSSES`.
        """
        now = {path.stat().st_ino: path for path in (self.folder, *self.folder.rglob("*"))}
        root = self.folder.stat().st_ino
        tree = self._left(root, now, lambda: _share(chance, losses), losses)
        shutil.rmtree(self.folder)
        _write(self.folder, tree)

    def _remember(self, file: Any) -> None:
        """Note the present content of a file, or names of a folder, as safe; in place of a sync."""
        descriptor = file if isinstance(file, int) else file.fileno()
        found, place = os.fstat(descriptor), f"/proc/self/fd/{descriptor}"
        if found.st_ino not in self._open:  # an open file's number is given to no other
            self._open[found.st_ino] = os.dup(descriptor)
        draft = self.memory / "draft"
        if stat.S_ISDIR(found.st_mode):
            draft.write_text(json.dumps(_names(place)))
        else:
            shutil.copyfile(place, draft)
        os.replace(draft, self.memory / str(found.st_ino))

    def _left(
        self, number: int, now: dict[int, Path], share: Callable[[], float], losses: str
    ) -> Tree:
        """Return what is left of a folder, by its inode number."""
        safe: dict[str, list[Any]] = json.loads(self._safe(number) or "{}")
        there = _names(str(now[number])) if number in now else safe
        tree: Tree = {}
        for name in sorted({*safe, *there}):
            written = safe.get(name) == there.get(name)
            entry = there.get(name) if written or _is_kept(share(), losses) else safe.get(name)
            if entry is None:
                continue
            inner, is_folder = entry
            if is_folder:
                tree[name] = self._left(inner, now, share, losses)
            else:
                tree[name] = self._content(inner, now, share())
        return tree

    def _content(self, number: int, now: dict[int, Path], share: float) -> bytes:
        """Return a file's content: the safe part, and a share of the bytes that follow it.

        Of a file that was written over, it is the safe content, or a share of the new one.
        """
        safe = self._safe(number) or b""
        there = now[number].read_bytes() if number in now else safe
        if share == 0:
            return safe
        same = len(safe) if there.startswith(safe) else 0
        kept = same + round(abs(share) * (len(there) - same))
        return there[:kept] + b"\0" * (len(there) - kept if share < 0 else 0)

    def _safe(self, number: int) -> bytes | None:
        file = self.memory / str(number)
        return file.read_bytes() if file.exists() else None


def _share(chance: random.Random, losses: str) -> float:
    """Draw the share of unsynced bytes that is kept; if negative, zeros take the others' place."""
    if losses != "some":
        return 0.0
    return chance.choice([0.0, 1.0, chance.random(), -chance.random()])


def _is_kept(share: float, losses: str) -> bool:
    """Return whether a name that was not synced is on the disk."""
    return losses == "contents" or share > 0


def _names(folder: str) -> dict[str, list[Any]]:
    """Return inode number and kind of each entry of a folder."""
    entries = [*os.scandir(folder)]
    return {entry.name: [entry.stat().st_ino, entry.is_dir()] for entry in entries}


def _write(folder: Path, tree: Tree) -> None:
    folder.mkdir()
    for name, content in tree.items():
        if isinstance(content, dict):
            _write(folder / name, content)
        else:
            (folder / name).write_bytes(content)
