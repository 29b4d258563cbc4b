import errno
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from adakd.errors import AdakdError
from adakd.store.disk import FULL, writing

Usage = namedtuple("Usage", "total used free")


def write(folder: Path, error: Exception) -> None:
    with writing(folder / "model", folder):
        raise error


@pytest.mark.parametrize("free", [0, 10 * FULL])
def test_an_error_of_the_system_names_the_target_and_the_cause(tmp_path, monkeypatch, free):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, free))
    with pytest.raises(AdakdError, match=r"model: No space left on device; .* same command"):
        write(tmp_path, OSError(errno.ENOSPC, "No space left on device"))


def test_a_librarys_own_error_on_a_full_disk_is_told_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, FULL // 2))
    with pytest.raises(AdakdError, match="No space left"):
        write(tmp_path, RuntimeError("unexpected pos 973760 vs 973648"))


def test_other_errors_stay_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 10 * FULL))
    for error in (RuntimeError("a bug"), AdakdError("bad input")):
        with pytest.raises(type(error), match=str(error)):
            write(tmp_path, error)
