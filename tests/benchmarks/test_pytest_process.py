"""The benchmarks run in a process of their own, with settings of its own, into one file."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adakd import benchmarks
from adakd.benchmarks import pytest_process
from adakd.config import resources
from adakd.errors import AdakdError

CASE = """
import pytest
from measuring import FASTER, note, row

@pytest.mark.benchmark(group="Made up")
@pytest.mark.parametrize("number", [1, 2])
def test_fast(benchmark, number):
    benchmark.pedantic(sum, ([number],), rounds=3)
    note(benchmark, row("a sum", "nothing", FASTER, 2.0, at_least=1.5), seconds=0.5)

def test_broken(benchmark):
    benchmark.pedantic(sum, ([1],), rounds=1)
    assert "this" == "that"
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a folder with three quick cases in the place of the real one."""
    folder, real = tmp_path / "bench", resources.benchmarks()
    folder.mkdir()
    for name in ("bench.ini", "measuring.py", "conftest.py"):
        shutil.copy(real / name, folder)
    (folder / "test_small.py").write_text(CASE)
    monkeypatch.setattr(resources, "benchmarks", lambda: folder)
    return folder


class Recorder:
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.notes: list[str] = []

    @contextmanager
    def stage(self, title: str, total: int) -> Any:
        self.stages.append(title)
        yield lambda done, total=total: None

    def note(self, text: str, style: str = "") -> None:
        self.notes.append(text)

    def ahead(self, text: str) -> None:
        pass


def test_every_case_is_reported_and_what_failed_costs_the_others_nothing(small: Path) -> None:
    shown = Recorder()
    found = benchmarks.run_benchmarks(progress=shown)
    assert shown.stages == [" 1 of 3  fast[1]", " 2 of 3  fast[2]", " 3 of 3  broken"]
    assert found.failed == ("broken",)
    (note,) = shown.notes
    assert note.startswith("failed broken: ")
    assert [case.name for case in found.benchmarks] == ["test_fast[1]", "test_fast[2]"]
    (line,) = found.benchmarks[0].extra_info.rows
    assert (line.value, line.goal, line.met) == (2.0, 1.5, True)
    assert found.benchmarks[0].stats.rounds == 3


def test_the_settings_of_the_caller_do_not_count(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (home / "conftest.py").write_text("raise RuntimeError('not mine')\n")
    (home / "pytest.py").write_text("raise RuntimeError('not mine')\n")
    monkeypatch.chdir(home)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_module")
    before = sorted(home.iterdir())
    found = benchmarks.run_benchmarks("fast and 1")
    assert [case.name for case in found.benchmarks] == ["test_fast[1]"]
    assert sorted(home.iterdir()) == before


def test_no_name_of_machine_or_user_is_kept(small: Path) -> None:
    import getpass
    import platform

    text = benchmarks.run_benchmarks("fast").model_dump_json()
    kept = set(json.loads(text)["machine_info"])
    assert kept <= {"system", "processor", "cores", "memory", "gpu"}
    assert platform.node() not in text
    assert str(Path.home()) not in text
    assert getpass.getuser() == "root" or getpass.getuser() not in text


def test_the_allocator_is_set_for_the_cases(small: Path) -> None:
    (small / "test_small.py").write_text(
        "import os\n"
        "from measuring import note\n"
        "def test_it(benchmark):\n"
        "    benchmark.pedantic(sum, ([1],), rounds=1)\n"
        "    note(benchmark, threshold=float(os.environ['MALLOC_MMAP_THRESHOLD_']))\n"
    )
    (case,) = benchmarks.run_benchmarks().benchmarks
    assert case.extra_info.more == {
        "threshold": float(pytest_process.ALLOCATOR["MALLOC_MMAP_THRESHOLD_"])
    }


def test_the_load_of_others_is_what_is_not_ours() -> None:
    before = pytest_process._Load(total=100.0, busy=50.0, ours=10.0)
    assert before.others_until(pytest_process._Load(120.0, 65.0, 20.0)) == 0.25
    assert before.others_until(pytest_process._Load(120.0, 60.0, 21.0)) == 0
    assert before.others_until(before) is None
    start = pytest_process._Load.now()
    sum(range(10**6))
    end = pytest_process._Load.now()
    assert end.ours > start.ours
    assert end.total >= end.busy > 0


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        pytest_process, "find_spec", lambda name: None if name == "rouge_score" else object()
    )
    with pytest.raises(AdakdError, match=r"need rouge-score: pip install 'adakd\[bench\]'"):
        benchmarks.run_benchmarks()


@pytest.mark.parametrize(
    ("expression", "said"), [("nonesuch", "chooses no benchmark"), ("a b(", "Wrong expression")]
)
def test_an_expression_that_chooses_nothing(small: Path, expression: str, said: str) -> None:
    with pytest.raises(AdakdError, match=said):
        benchmarks.run_benchmarks(expression)


def test_a_benchmark_that_dies_is_reported(small: Path) -> None:
    (small / "test_small.py").write_text(
        "import os\ndef test_it(benchmark):\n    print('so far', flush=True)\n    os._exit(41)\n"
    )
    with pytest.raises(AdakdError, match=r"(?s)ended with code 41.*so far"):
        benchmarks.run_benchmarks()


def test_the_shipped_benchmarks_stand_alone(tmp_path: Path, monkeypatch) -> None:
    """One of them runs from a copy of the folder, with nothing of the repository around it."""
    copy = shutil.copytree(
        resources.benchmarks(), tmp_path / "bench", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(resources, "benchmarks", lambda: copy)
    found = benchmarks.run_benchmarks("rouge")
    assert found.failed == ()
    (line,) = found.benchmarks[0].extra_info.rows
    assert line.goal == 15
