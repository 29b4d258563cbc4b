"""Short hashes of settings and file contents, stable across processes and machines.

Large files are hashed once. Their hashes are remembered in the user's cache folder, one small file
each, and hold as long as path, size and times of the file do.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from adakd.errors import AdakdError

LARGE = 1 << 20
"""Bytes from which the hash of a file is remembered; smaller files are hashed each time."""
_TICK = 50_000_000
"""Nanoseconds in which a file may change twice and keep its times."""


def digest(*parts: Any) -> str:
    """Return a short hash of settings, stable across processes and machines."""
    return _short(_text(parts))


class Digests:
    """The hashes ``digest(first, *rest)`` for many first parts: the rest is written once."""

    def __init__(self, *rest: Any) -> None:
        self._rest = _text(rest).removeprefix("[")

    def __call__(self, first: str) -> str:
        """Return ``digest(first, *rest)``."""
        return _short(f"[{json.dumps(first)}, {self._rest}")


def _text(parts: tuple[Any, ...]) -> str:
    return json.dumps(to_jsonable_python(parts), sort_keys=True)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(file: Path) -> str:
    """Return the hash of a file's whole content.

    Raises:
        AdakdError: the file cannot be read.
    """
    try:
        file = file.resolve()
        state = _state(file.stat())
        if state[0] < LARGE:
            return content_digest(file)
        return _remembered(file, state) or _hashed(file)
    except OSError as error:
        raise AdakdError(f"{file}: {error.strerror}") from None


def content_digest(file: Path) -> str:
    """Return the hash of a file's content, read now."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def files_digest(files: Iterable[Path], folder: Path) -> list[tuple[str, str]]:
    """Return path within `folder` and hash of each file, sorted."""
    return sorted((file.relative_to(folder).as_posix(), file_digest(file)) for file in files)


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder but hidden ones and Python's caches."""
    found = (file for file in folder.rglob("*") if file.is_file())
    return [file for file in found if not any(map(_aside, file.relative_to(folder).parts))]


def _aside(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _state(found: os.stat_result) -> list[int]:
    """Return what changes with the content of a file: the last time cannot be set by a program."""
    return [found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns]


def user_cache(kind: str) -> Path:
    """Return the folder for files of a kind in the user's cache folder; it may not exist yet."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "adakd" / kind


def _memory(file: Path) -> Path:
    """Return the file in which the hash of `file` is remembered."""
    return user_cache("digests") / hashlib.sha256(os.fsencode(file)).hexdigest()


def _remembered(file: Path, state: list[int]) -> str | None:
    """Return the hash that was remembered for a file in this state, if any."""
    try:
        known = json.loads(_memory(file).read_text(encoding="utf-8"))
        return str(known["digest"]) if known["state"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hashed(file: Path) -> str:
    """Hash a file, and remember the hash unless the file may have changed meanwhile."""
    start = time.time_ns()
    before = _state(file.stat())
    found = content_digest(file)
    if _state(file.stat()) == before and max(before[1], before[3]) < start - _TICK:
        with suppress(OSError):  # a cache folder that cannot be written costs time alone
            _replace(_memory(file), json.dumps({"digest": found, "state": before}))
    return found


def _replace(file: Path, text: str) -> None:
    """Write a file in one step: another process sees the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)
