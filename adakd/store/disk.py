"""Failed writes as errors for the user: a full disk loses no finished work."""

import shutil
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
