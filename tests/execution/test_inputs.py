"""Who starts a run, and on what: mistakes are told before anything is loaded."""

import os
from pathlib import Path

import pytest

from adakd.errors import AdakdError
from adakd.execution import inputs
from adakd.execution.inputs import check_engine, check_launcher


@pytest.fixture(autouse=True)
def _started_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*inputs.LAUNCHED, inputs.ACCELERATE):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", inputs.LAUNCHED)
def test_a_launcher_of_several_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    check_launcher()
    monkeypatch.setenv(name, "4")
    with pytest.raises(AdakdError, match=r"started 4 times by a launcher .* add --on ray"):
        check_launcher()


def test_accelerate_is_refused_where_it_starts_one_process_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(inputs.ACCELERATE, "false")
    with pytest.raises(AdakdError, match=r"started by a launcher .* add --on ray"):
        check_launcher()


def test_the_command_line_refuses_a_launcher(
    command_line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = command_line("run", "smoke", "--out", tmp_path / "run")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("adakd: adakd run was started 2 times by a launcher")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("on", ["", "dask", "ray:", "rays", "Ray"])
def test_an_unknown_engine_is_named(on: str) -> None:
    with pytest.raises(AdakdError, match=f"--on: no engine '{on}': use ray"):
        check_engine(on)


def test_a_missing_package_is_one_line(
    command_line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(inputs, "find_spec", lambda name: None)
    check_engine(None)
    done = command_line("run", "smoke", "--out", tmp_path / "run", "--on", "ray")
    assert done.code == 2
    assert done.err == "adakd: --on ray needs the package ray: pip install 'adakd[ray]'\n"
    assert os.listdir(tmp_path) == []
