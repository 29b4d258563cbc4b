"""Who starts a run, and on what: mistakes are told before anything is loaded."""

import os
import socket
from contextlib import nullcontext
from pathlib import Path

import pytest

from adakd.errors import AdakdError
from adakd.execution import inputs
from adakd.execution.inputs import check_engine, check_inputs, check_launcher


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


def test_a_unit_is_refused_to_torchrun_and_not_to_srun(
    command_line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Tasks of srun may do different units; all processes of torchrun would do one."""
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert "launcher" not in command_line("work", tmp_path, "--unit", "abc").err
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = command_line("work", tmp_path, "--unit", "abc")
    assert done.code == 2
    assert done.err.startswith("adakd: adakd work was started 2 times by a launcher")
    assert "set training.devices" in done.err


@pytest.mark.parametrize(
    ("devices", "has", "on", "refused"),
    [
        (2, 0, None, False),  # processes on its cores
        (2, 1, None, True),
        (2, 1, "ray", True),
        (2, 1, "ray:head:10001", False),
        (2, 2, None, False),
        (1, 1, None, False),
    ],
)
@pytest.mark.parametrize("section", ["training", "teacher.sft"])
def test_more_devices_than_gpus_are_refused_where_there_are_gpus(
    make_suite, monkeypatch: pytest.MonkeyPatch, section: str, devices, has, on, refused: bool
) -> None:
    monkeypatch.setattr(inputs, "gpus", lambda: has)
    of = {f"{section}.devices": devices, f"{section}.gradient_accumulation": 2}
    expected = pytest.raises(AdakdError, match=f"{section}.devices: 2, but this machine has 1 GPU:")
    with expected if refused else nullcontext():
        check_inputs(make_suite(of), on)


def test_a_plan_tells_of_devices_and_refuses_too_many(
    command_line, monkeypatch: pytest.MonkeyPatch, suite_file
) -> None:
    shared = {"training.devices": 2, "training.gradient_accumulation": 2}
    file = suite_file(shared)
    done = command_line("plan", file)
    assert "each student is trained by 2 devices together; overheads are measured" in done.out
    assert "2 devices together" in command_line("plan", file, "--units").out
    spread = command_line("plan", suite_file({**shared, "training.shard": True})).out
    assert "2 devices together, its weights, gradients and Adam's moments spread" in spread
    assert "timing.pairs: 0 leaves them out" in spread
    monkeypatch.setattr(inputs, "gpus", lambda: 1)
    assert command_line("plan", file).code == 2


@pytest.mark.parametrize("on", ["", "dask", "ray:", "rays", "Ray"])
def test_an_unknown_engine_is_named(on: str) -> None:
    with pytest.raises(AdakdError, match=f"--on: no engine '{on}': use ray"):
        check_engine(on)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "127.0.0.1:99999"]
)
def test_an_address_without_a_cluster_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(inputs, "find_spec", lambda name: object())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        on = "ray:" + address.format(port=free.getsockname()[1])
        with pytest.raises(AdakdError, match=f"--on {on}: no Ray cluster answers there"):
            check_engine(on)
        if "99999" not in address:
            free.listen()
            check_engine(on)
    check_engine("ray:auto")


def test_a_missing_package_is_one_line(
    command_line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(inputs, "find_spec", lambda name: None)
    check_engine(None)
    done = command_line("run", "smoke", "--out", tmp_path / "run", "--on", "ray")
    assert done.code == 2
    assert done.err == "adakd: --on ray needs the package ray: pip install 'adakd[ray]'\n"
    assert os.listdir(tmp_path) == []
