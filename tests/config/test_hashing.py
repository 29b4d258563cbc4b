"""Hashes of files: of their whole content, and read once."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adakd.config import hashing
from adakd.config.hashing import LARGE, Digests, digest, file_digest
from adakd.errors import AdakdError


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of remembered hashes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "adakd" / "digests"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read in full."""
    names: list[str] = []
    real = hashing.content_digest

    def spy(file: Path) -> str:
        names.append(file.name)
        return real(file)

    monkeypatch.setattr(hashing, "content_digest", spy)
    return names


def write(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    time.sleep(0.06)  # so that its times are of the past
    return file


BIG = bytes(range(256)) * (3 * LARGE // 256)


@pytest.mark.parametrize("place", [0, LARGE - 1, LARGE, 2 * LARGE, len(BIG) - 1])
def test_any_byte_decides(tmp_path: Path, place: int) -> None:
    file = write(tmp_path / "model.safetensors", BIG)
    before = file_digest(file)
    write(file, BIG[:place] + bytes([BIG[place] ^ 1]) + BIG[place + 1 :])
    assert file_digest(file) != before
    assert file_digest(write(tmp_path / "copy", BIG)) == before


def test_a_large_file_is_read_once_and_its_hash_outlives_the_process(
    tmp_path: Path, read: list[str]
) -> None:
    file = write(tmp_path / "big", BIG)
    code = "import sys, pathlib; from adakd.config.hashing import *; "
    code += "print(file_digest(pathlib.Path(sys.argv[1])))"
    said = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    assert file_digest(file) == said.stdout.strip()
    assert not read


def test_a_file_whose_time_was_set_back_is_read_again(tmp_path: Path) -> None:
    """As `cp --preserve` or an archive leaves it: same path, size and time of change."""
    file = write(tmp_path / "big", BIG)
    before, found = file.stat(), file_digest(file)
    write(file, BIG[::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert file_digest(file) != found


def test_a_file_replaced_by_another_is_read_again(tmp_path: Path) -> None:
    file, other = write(tmp_path / "big", BIG), write(tmp_path / "other", BIG[::-1])
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    found = file_digest(file)
    os.replace(other, file)
    assert file_digest(file) != found


def test_a_hash_of_a_file_just_written_is_not_remembered(tmp_path: Path, memory: Path) -> None:
    """It could change within the same tick of the clock."""
    file = tmp_path / "big"
    file.write_bytes(BIG)
    os.utime(file, ns=(0, time.time_ns() + 10**9))
    file_digest(file)
    assert not memory.exists()


@pytest.mark.parametrize("harm", ["", "[]", '{"state": 1}', "\0"])
def test_a_damaged_memory_is_written_anew(
    tmp_path: Path, memory: Path, read: list[str], harm: str
) -> None:
    file = write(tmp_path / "big", BIG)
    right = file_digest(file)
    (known,) = memory.iterdir()
    known.write_text(harm)
    assert file_digest(file) == right
    assert file_digest(file) == right
    assert read == ["big", "big"]


def test_a_memory_that_cannot_be_written_costs_time_alone(tmp_path: Path, read: list[str]) -> None:
    (tmp_path / "cache").write_text("no folder")
    file = write(tmp_path / "big", BIG)
    assert file_digest(file) == file_digest(file)
    assert read == ["big", "big"]


def test_many_processes_may_hash_the_same_file(tmp_path: Path, memory: Path) -> None:
    file = write(tmp_path / "big", BIG)
    code = "import sys, pathlib; from adakd.config.hashing import *; "
    code += "[print(file_digest(pathlib.Path(sys.argv[1]))) for _ in range(20)]"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    said = {line for one in started for line in one.communicate()[0].split()}
    assert said == {hashing.content_digest(file).encode()}
    assert len(list(memory.iterdir())) == 1


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(AdakdError, match=r"gone: No such file"):
        file_digest(tmp_path / "gone")


def test_many_hashes_are_those_of_one_at_a_time() -> None:
    rest = ("set", None, {"b": [1, 2.5], "a": "é"})
    assert [Digests(*rest)(first) for first in ("x", 'a "b"', "é")] == [
        digest(first, *rest) for first in ("x", 'a "b"', "é")
    ]
