"""Failed writes as errors for the user: a full disk loses no finished work."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adakd.errors import AdakdError

FULL = 1 << 20
"""A disk with fewer free bytes than this is full."""
RESERVE = 1 << 30
"""Bytes kept free for models, checkpoints and records."""


@contextmanager
def writing(target: Path, folder: Path) -> Iterator[None]:
    """Turn a failed write inside the block into an error that names `target`.

    Args:
        target: the file that is written.
        folder: lies on the same disk.

    Raises:
        AdakdError: the block failed to write; earlier records of the run are kept.
    """
    try:
        yield
    except AdakdError:
        raise
    except OSError as error:
        raise _write_error(target, str(error.strerror or error)) from error
    except Exception as error:
        # torch and safetensors report a full disk by exceptions of their own
        if shutil.disk_usage(folder).free > FULL:
            raise
        raise _write_error(target, "No space left on device") from error


def check_room(folder: Path, size: int) -> None:
    """Check that `size` more bytes of teacher hidden states fit beside the files of a run.

    Raises:
        AdakdError: they do not.
    """
    there = next(above for above in (folder, *folder.absolute().parents) if above.is_dir())
    free = shutil.disk_usage(there).free
    if size + RESERVE > free:
        raise AdakdError(
            f"teacher.cache: the teacher's hidden states take {size:,} bytes, and {there} has "
            f"{free:,} left, {RESERVE:,} of them for models and records; free some space, choose "
            "another --out folder, or set teacher.cache: off, which runs the teacher on every "
            "batch and trains under keys of its own"
        )


def _write_error(target: Path, reason: str) -> AdakdError:
    return AdakdError(
        f"{target}: {reason}; fix this and run the same command again: finished work is kept"
    )


def write_atomically(file: Path, text: str) -> None:
    """Write a text file in one step: a reader sees the old one or the new one, never a part.

    Raises:
        OSError: the file cannot be written.
    """
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=file.parent, prefix=f".{file.stem}-", delete=False
    ) as stream:
        stream.write(text)
    Path(stream.name).chmod(0o644)
    os.replace(stream.name, file)


def sync(path: Path) -> None:
    """Write a file, or the list of a folder, through to the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder on Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Write a folder and all that is in it through to the disk, so that a power cut keeps it."""
    for path in (*sorted(folder.rglob("*")), folder):
        sync(path)


def share_tree(folder: Path) -> None:
    """Give the files of a folder the permissions of new files, as the umask has them.

    Libraries that write by temporary files leave them to their owner alone.
    """
    mask = os.umask(0o022)
    os.umask(mask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~mask)
