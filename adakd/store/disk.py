"""Failures to write, told as such: a full disk is the user's to mend, and costs nothing done."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adakd.errors import AdakdError

FULL = 1 << 20
"""Fewer free bytes than this are a full disk."""
RESERVE = 1 << 30
"""Bytes to leave for models, checkpoints and records where something may be left out instead."""


@contextmanager
def writing(target: Path, folder: Path) -> Iterator[None]:
    """Name `target` in an error to write inside the block; `folder` lies on the same disk.

    Raises:
        AdakdError: the block failed to write. What the run recorded before stays.
    """
    try:
        yield
    except AdakdError:
        raise
    except OSError as error:
        raise _told(target, str(error.strerror or error)) from error
    except Exception as error:
        # torch and safetensors put a full disk into errors of their own kinds.
        if shutil.disk_usage(folder).free > FULL:
            raise
        raise _told(target, "No space left on device") from error


def lack_of_room(folder: Path, size: int) -> str:
    """Return why `size` bytes more would not fit beside what a run writes; nothing if they do."""
    there = next(above for above in (folder, *folder.absolute().parents) if above.is_dir())
    free = shutil.disk_usage(there).free
    if size + RESERVE <= free:
        return ""
    return f"it takes {size / 1e9:.1f} GB, and {there} has {free / 1e9:.1f} GB left"


def _told(target: Path, what: str) -> AdakdError:
    return AdakdError(
        f"{target}: {what}; mend it and run the same command again: what is recorded stays"
    )
