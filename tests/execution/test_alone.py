"""Units done one by one, without an engine, as in an array of Slurm."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import adakd
from adakd.commands.run import Start
from adakd.commands.work import unit_lines, work
from adakd.errors import AdakdError
from adakd.execution.workers import threads_of
from adakd.planning import plan
from adakd.planning.units import units
from adakd.progress import Silent
from adakd.store import Store
from adakd.store.records import RunRecord, TrainingRecord
from adakd.store.unit_files import claimed, sweep, take_in, unit_store
from tests.execution.lasting import results


@pytest.fixture(scope="module")
def by_units(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `finished_run`, each unit done alone; not yet taken in."""
    run = tmp_path_factory.mktemp("alone") / "run"
    Start(Store(finished_run).suite(), run).prepare()
    before = (run / "results.jsonl").read_bytes()
    while lines := [line.split() for line in unit_lines(run)]:
        ready = [key for key, _, waits, *_ in lines if waits == "-"]
        waiting = [key for key, _, waits, *_ in lines if waits != "-"]
        if waiting:
            with pytest.raises(AdakdError, match="not done yet: do that first, by `adakd work"):
                work(run, waiting[-1])
        for key in ready:
            assert work(run, key[:8])
        assert not {*ready} & {line.split()[0] for line in unit_lines(run)}
    assert (run / "results.jsonl").read_bytes() == before
    return run


def test_a_run_takes_in_what_units_left_and_is_done(
    by_units: Path, finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(by_units, tmp_path / "run"))
    every = units(plan(Store(run).suite()))
    assert {folder.name for folder in (run / "units").iterdir()} == {unit.key for unit in every}

    class NoStage:
        def stage(self, title: str, total: int) -> Any:
            raise AssertionError(title)

        def note(self, text: str, style: str = "") -> None: ...

    report = adakd.run(Store(run).suite(), run, NoStage())
    assert report.exists()
    assert results(run) == results(finished_run)
    assert not (run / "units").exists()
    models = {path.relative_to(run) for path in run.glob("cells/*/*")}
    assert models == {path.relative_to(finished_run) for path in finished_run.glob("cells/*/*")}


def test_a_unit_that_is_done_is_not_done_again(by_units: Path) -> None:
    before = {path: path.read_bytes() for path in by_units.glob("units/*/results.jsonl")}
    for key in (unit.key for unit in units(plan(Store(by_units).suite()))):
        assert not work(by_units, key)
    assert {path: path.read_bytes() for path in by_units.glob("units/*/results.jsonl")} == before


def test_records_taken_in_twice_are_there_once(by_units: Path, tmp_path: Path) -> None:
    """As by an owner that is killed between adding them and removing their folder."""
    run = Path(shutil.copytree(by_units, tmp_path / "run"))
    key = plan(Store(run).suite()).teacher.cell.key
    kept = Path(shutil.copytree(run / "units" / key, tmp_path / "kept"))
    take_in(Store(run), key)
    once = (run / "results.jsonl").read_bytes()
    assert Store(run).get(TrainingRecord, key) is not None
    assert not (run / "units" / key).exists()
    shutil.copytree(kept, run / "units" / key)
    take_in(Store(run), key)
    assert (run / "results.jsonl").read_bytes() == once


def test_a_unit_at_work_is_left_alone(by_units: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(by_units, tmp_path / "run"))
    key = plan(Store(run).suite()).teacher.cell.key
    with claimed(run, key, "train teacher"):
        sweep(Store(run))
        assert [folder.name for folder in (run / "units").iterdir()] == [key]
        with pytest.raises(AdakdError, match="train teacher: another adakd process works on this"):
            work(run, key)
        assert Store(run).get(TrainingRecord, key) is None
    sweep(Store(run))
    assert Store(run).get(TrainingRecord, key) is not None


def test_a_claim_that_comes_to_nothing_leaves_nothing(tmp_path: Path) -> None:
    with claimed(tmp_path, "0123", "a unit"):
        assert (tmp_path / "units" / "0123").is_dir()
    assert not list(tmp_path.iterdir())


def test_a_line_that_a_kill_cut_short_is_dropped(by_units: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(by_units, tmp_path / "run"))
    score = next(u for u in units(plan(Store(run).suite())) if u.kind == "score")
    file = unit_store(run, score.key).file
    file.write_bytes(file.read_bytes()[:-9])
    waiting = [line.split()[0] for line in unit_lines(run)]
    assert waiting == [score.key]


def test_an_unknown_unit_is_named(by_units: Path) -> None:
    for key in ("", "no such"):
        with pytest.raises(AdakdError, match="--unit: no unit begins with"):
            work(by_units, key)


def test_a_folder_without_a_run_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(AdakdError, match="no run here"):
        work(tmp_path / "gone", "0123")
    assert not (tmp_path / "gone").exists()


# --- threads --------------------------------------------------------------------------------


def test_the_cores_of_a_unit_are_its_threads() -> None:
    before = torch.get_num_threads()
    with threads_of(before + 1):
        assert torch.get_num_threads() == before + 1
    with threads_of(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_another_number_of_threads_is_told(
    make_suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the suite says how many; sums of floating-point numbers depend on it."""
    told = list[str]()

    class Told(Silent):
        def note(self, text: str, style: str = "") -> None:
            told.append(text)

    cores = {"resources": {kind: {"cpus": 1} for kind in ("teacher", "student", "score")}}
    Start(make_suite(), tmp_path / "run").prepare(Told())
    Start(make_suite(), tmp_path / "run").prepare(Told())
    assert not told
    before = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: before + 3)
    Start(make_suite(cores), tmp_path / "run").prepare(Told())
    assert not told
    monkeypatch.setattr(torch, "get_num_threads", lambda: before + 5)
    Start(make_suite(), tmp_path / "run").prepare(Told())
    (note,) = told
    assert note.startswith(f"{before + 5} threads of PyTorch a unit, and {before + 3} at the last")
    assert Store(tmp_path / "run").of(RunRecord)[-1].hardware["threads"] == str(before + 5)


# --- the command line -----------------------------------------------------------------------


def test_the_command_line_lists_units_and_does_one(
    command_line, suite_file, tmp_path: Path
) -> None:
    run, file = tmp_path / "run", suite_file()
    planned = command_line("plan", file, "--units")
    assert (planned.code, planned.err) == (0, "")
    prepared = command_line("run", file, "--out", run, "--prepare")
    assert prepared.out.endswith(f"prepared: adakd work {run}\n")
    listed = command_line("work", run).out.splitlines()
    every = units(plan(Store(run).suite()))
    assert {line.split()[0] for line in listed} == {unit.key for unit in every}
    assert all(unit.key in planned.out for unit in every)
    untrained = next(unit for unit in every if unit.title == "train untrained")
    done = command_line("work", run, "--unit", untrained.key)
    assert (done.code, done.err) == (0, "")
    again = command_line("work", run, "--unit", untrained.key)
    assert again.out == f"{untrained.key}: done before, or it has nothing to do\n"
    waiting = next(line.split()[0] for line in listed if " timing " in line)
    refused = command_line("work", run, "--unit", waiting)
    assert refused.code == 2
    assert "not done yet: do that first, by `adakd work" in refused.err
