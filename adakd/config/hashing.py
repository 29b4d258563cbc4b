"""Short hashes of settings and file contents, stable across processes and machines."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from adakd.errors import AdakdError


def digest(*parts: Any) -> str:
    """Return a short hash of settings, stable across processes and machines."""
    text = json.dumps(to_jsonable_python(parts), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(file: Path) -> str:
    """Return the hash of a file's content.

    Raises:
        AdakdError: the file cannot be read.
    """
    try:
        found = file.stat()
        return _content_digest(file.resolve(), found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise AdakdError(f"{file}: {error.strerror}") from None


@cache
def _content_digest(file: Path, size: int, changed: int) -> str:
    """Return the hash of a file's content, rereading it only if size or time changed."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
