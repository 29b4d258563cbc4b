"""The kit itself, without a GPU: what is packed arrives whole, or the wrong file is named."""

import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from adakd import load_suite
from adakd.planning import Cell, plan
from adakd.planning.cells import SEEDED

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


@pytest.fixture(scope="module")
def experiment() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield import_module("experiment")


@pytest.fixture(scope="module")
def planned(experiment: Any) -> Any:
    return plan(load_suite(experiment.SUITE))


def stored(planned: Any, done: Callable[[Cell], bool]) -> set[str]:
    """Return the keys of the cells that are done, with those of their scores."""
    keys = {job.key for job in planned.jobs if done(job.cell)}
    return keys | {cell.key for cell in planned.cells if done(cell)}


def test_pairs_come_before_sft_and_the_third_arm(experiment: Any, planned: Any) -> None:
    first, students = experiment.ordered(planned)
    assert [one.cell.role for one in first] == ["teacher", "untrained"]
    cells = [one.cell for one in students]
    assert {cell.key for cell in cells} == {
        cell.key for cell in planned.cells if cell.role in SEEDED
    }
    pairs, others = cells[:12], cells[12:]
    assert {cell.arm for cell in pairs} == {"plain", "adakd"}
    assert [cell.seed for cell in pairs] == [seed for seed in (1, 2, 3) for _ in range(4)]
    assert [cell.role for cell in others[:3]] == ["sft"] * 3
    assert {cell.arm for cell in others[3:]} == {experiment.EXTRA}


@pytest.mark.parametrize(
    ("missing", "kept"),
    [
        (lambda cell: cell.role == "teacher", ""),
        (lambda cell: cell.arm == "adakd", ""),
        (lambda cell: False, "seeds=[1, 2, 3]"),
        (lambda cell: cell.role == "sft" and cell.seed == 2, "seeds=[1, 2, 3] controls.sft=false"),
        (
            lambda cell: cell.arm == "plain" and cell.divergence and cell.seed == 2,
            "seeds=[1, 3]",
        ),
        (
            lambda cell: cell.arm != "plain" and cell.divergence == "reverse_kl" and cell.seed > 1,
            'seeds=[1, 2, 3] divergences=["forward_kl"]',
        ),
    ],
    ids=["teacher", "adakd", "nothing", "sft", "a seed", "a divergence"],
)
def test_what_is_done_keeps_the_most_pairs(
    experiment: Any, planned: Any, missing: Any, kept: str
) -> None:
    store = stored(planned, lambda cell: not missing(cell))
    assert " ".join(experiment.done_suite(planned, store)) == kept


@pytest.mark.parametrize("number", range(3))
def test_what_is_said_to_be_done_is_done(experiment: Any, planned: Any, number: int) -> None:
    """The suite that is left asks for nothing that is not in the store."""
    chance = random.Random(number)
    lost = {cell.key for cell in planned.cells if cell.role in SEEDED and chance.random() < 0.15}
    store = stored(planned, lambda cell: cell.key not in lost)
    changes = experiment.done_suite(planned, store)
    assert changes
    left = plan(load_suite(experiment.SUITE, changes))
    assert {cell.key for cell in left.cells} | {job.key for job in left.jobs} <= store


def test_the_selection_names_tests_that_exist() -> None:
    for line in (FOLDER / "selection.txt").read_text().splitlines():
        if not line.startswith("#"):
            file, _, name = line.removeprefix("--deselect=").partition("::")
            assert (ROOT / file).exists()
            assert name in ((ROOT / file).read_text() if name else "")
