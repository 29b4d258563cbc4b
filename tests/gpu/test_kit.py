"""The kit itself, without a GPU: what is packed arrives whole, or the wrong file is named."""

import os
import shutil
import subprocess
import sys
import tarfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script that unpacks, which imports the one that packs as its neighbour."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("unpack")


@pytest.fixture
def pack(kit: Any) -> Any:
    return import_module("pack")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "model.gguf"
    file.write_bytes(os.urandom(2500))
    return file


@pytest.fixture
def packed(tmp_path: Path, pack: Any, weights: Path) -> Path:
    """Data in the first of three folders, and the weights over all of them."""
    out = tmp_path / "packed"
    for name in pack.SETS:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(f"rows of {name}\n")
    pack.pack_data(tmp_path / "data", out / "1" / "data")
    pack.cut(weights, out, [500, 1000])
    for folder in out.iterdir():
        pack.write_sums(folder)
    return out


def test_what_is_packed_arrives(
    tmp_path: Path, kit: Any, pack: Any, packed: Path, weights: Path
) -> None:
    assert kit.unpack(packed, tmp_path / "home") == 0
    assert (tmp_path / "home" / "model" / weights.name).read_bytes() == weights.read_bytes()
    for name in pack.SETS:
        assert (tmp_path / "home" / "data" / name).read_text() == f"rows of {name}\n"


def test_pieces_may_come_one_call_after_another(
    tmp_path: Path, kit: Any, packed: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    for number in "231":
        call = tmp_path / f"call{number}"
        shutil.copytree(packed / number, call / number)
        assert kit.unpack(call, home) == 0
        assert (home / "model" / weights.name).exists() == (number == "1")
    assert (home / "model" / weights.name).read_bytes() == weights.read_bytes()
    assert "pieces [1, 2] have come" in capsys.readouterr().out


@pytest.mark.parametrize("harm", ["changed", "cut short", "lost"])
def test_a_file_that_came_damaged_is_named(
    tmp_path: Path, kit: Any, packed: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    file = packed / "2" / "weights" / "model.gguf.1"
    content = file.read_bytes()
    file.write_bytes({"changed": content[:-1] + bytes([content[-1] ^ 1])}.get(harm, content[:-1]))
    if harm == "lost":
        file.unlink()
    assert kit.unpack(packed, tmp_path / "home") == 2
    said = capsys.readouterr().out
    assert str(file) in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "home").exists()


def test_every_wheel_to_pack_has_one_version(pack: Any) -> None:
    """A name that constraints.txt does not fix would be packed in another version tomorrow."""
    lines = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    fixed = {line.partition("==")[0] for line in lines}
    for name in (*pack.WHEELS, *pack.SOURCES):
        assert "==" in name or name.lower().replace("_", "-") in fixed, name


def test_the_stages_go_on_after_a_failure(tmp_path: Path) -> None:
    """Each with an exit code and its seconds in the table, and the wrong file in the output."""
    asked = ["bash", str(FOLDER / "run.sh"), str(tmp_path / "out"), "unpack", "missing=5", "unpack"]
    nothing = {"ADAKD_GPU_PACKED": str(tmp_path / "no"), "ADAKD_GPU_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        asked, capture_output=True, text=True, env=os.environ | nothing | {"PYTHON": sys.executable}
    )
    assert done.returncode == 1
    with tarfile.open(tmp_path / "out" / "results.tar.gz") as results:
        member = results.extractfile("./stages.txt")
        assert member is not None
        table = member.read().decode().splitlines()
    assert [line.split()[:3] for line in table] == [
        ["unpack", "exit", "2"],
        ["missing", "exit", "2"],
        ["unpack", "exit", "2"],
    ]
    assert "nothing is packed there" in done.stdout
    assert done.stdout.splitlines()[-3:] == table


def test_the_selection_names_tests_that_exist() -> None:
    for line in (FOLDER / "selection.txt").read_text().splitlines():
        if not line.startswith("#"):
            file, _, name = line.removeprefix("--deselect=").partition("::")
            assert (ROOT / file).exists()
            assert name in ((ROOT / file).read_text() if name else "")
