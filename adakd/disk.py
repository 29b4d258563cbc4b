"""Failures to write, told as such: a full disk is the user's to mend, and costs nothing done."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adakd.errors import AdakdError

FULL = 1 << 20
"""Fewer free bytes than this are a full disk."""


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


def _told(target: Path, what: str) -> AdakdError:
    return AdakdError(
        f"{target}: {what}; mend it and run the same command again: what is recorded stays"
    )
