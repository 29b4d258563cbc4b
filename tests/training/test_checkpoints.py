"""What learns along with the student: in its optimizer and checkpoints, and not in its model."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adakd.losses.objective import Objective
from adakd.training import checkpoints, fitting, trainer
from adakd.training.checkpoints import COMPLETE, STATE

ARMS: dict[str, Any] = {
    "ctkd": {"name": "adakd", "focus": "fixed", "temperature": "ctkd"},
    "egad": "egad",
    "zscore": {"name": "adakd", "focus": "fixed", "temperature": "zscore"},
}
LONG = {
    "arms": ARMS,
    "training.steps": 5,
    "training.save_every": 2,
    "training.weight_decay": 0.5,
    "teacher.sft.steps": 2,
    "student.config.attention_dropout": 0.1,
}


class Killed(Exception):
    pass


@pytest.fixture
def objectives(monkeypatch: pytest.MonkeyPatch) -> list[Objective]:
    """Gather the objectives that trainings end with."""
    seen = []

    class Spied(trainer.DistillationTrainer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            seen.append(options["objective"])

    monkeypatch.setattr(fitting, "DistillationTrainer", Spied)
    return seen


def values(objective: Objective) -> list[Tensor]:
    return [parameter.detach().clone().cpu() for parameter in objective.parameters()]


def starting_objective(run: Any, cell: Any) -> Any:
    assignment = run.assignment(cell)
    student = run.load(run.find("untrained"))
    return fitting.build_objective(assignment, student, run.teacher.outputs(assignment))


def saved(run: Any, cell: Any) -> dict[str, Tensor]:
    return dict(run.load(cell).state_dict())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("arm", ["ctkd", "egad"])
def test_a_killed_training_goes_on_with_what_was_learned(
    make_suite, trainings, objectives, monkeypatch, arm: str
) -> None:
    """And without it ends elsewhere: the negative, which tells that the state matters."""
    suite = make_suite({**LONG, "training.gradient_accumulation": 2})
    straight, broken = trainings(suite, "straight"), trainings(suite, "broken")
    cell = straight.find(arm=arm)
    whole = straight.train(cell)
    (end,) = values(objectives[-1])

    def kill(done: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        broken.train(cell, kill)
    shutil.copytree(broken.folder, broken.folder.with_name("forgetful"))
    resumed = trainings(suite, "broken")
    steps = resumed.train(cell).steps
    assert torch.equal(values(objectives[-1])[0], end)
    assert equal(saved(resumed, cell), saved(straight, cell))
    wanted = [step.model_dump(exclude={"seconds"}) for step in whole.steps]
    assert [step.model_dump(exclude={"seconds"}) for step in steps] == wanted
    monkeypatch.setattr(fitting, "load_state", lambda *_: None)
    forgetful = trainings(suite, "forgetful")
    forgetful.train(cell)
    assert not torch.equal(values(objectives[-1])[0], end)
    assert not equal(saved(forgetful, cell), saved(straight, cell))


@pytest.mark.parametrize("save_every", [1, 2, 4])
def test_a_training_killed_before_its_model_is_saved_takes_no_further_step(
    make_suite, trainings, monkeypatch, save_every: int
) -> None:
    suite = make_suite({"training.schedule": "constant", "training.save_every": save_every})
    straight, broken = trainings(suite, "straight"), trainings(suite, "broken")
    cell = straight.find()
    whole = straight.train(cell)

    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(fitting.loading, "save", kill)
        with pytest.raises(Killed):
            broken.train(cell)
    resumed = trainings(suite, "broken")
    steps = resumed.train(cell).steps
    assert [one.step for one in steps] == [1, 2, 3, 4]
    assert [one.loss for one in steps] == [one.loss for one in whole.steps]
    assert equal(saved(resumed, cell), saved(straight, cell))


@pytest.mark.parametrize("lora", [None, {"r": 2}], ids=["full", "lora"])
def test_it_is_learned_and_no_part_of_the_student(
    make_suite, trainings, objectives, lora: Any
) -> None:
    run = trainings(make_suite({**LONG, "training.lora": lora}))
    plain, plain_record = run.find(), run.train(run.find())
    for arm in ARMS:
        cell = run.find(arm=arm)
        record = run.train(cell)
        assert record.status == "done"
        assert record.parameters == plain_record.parameters
        files = [{file.name for file in run.home(each).iterdir()} for each in (plain, cell)]
        assert files[0] == files[1]
        assert not equal(saved(run, plain), saved(run, cell))
        before = values(starting_objective(run, cell))
        after = values(objectives[-1])
        assert len(before) == len(after) == (arm != "zscore")
        assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))
        if arm == "ctkd":
            assert len({step.temperature for step in record.steps}) > 2
        if arm == "egad":
            assert tuple(after[0].shape) == (32, 16)


def test_its_gradients_last_one_step_and_its_weights_do_not_decay(
    make_suite, trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a lambda of 0 in the first step there is nothing to move: neither decay nor momentum."""
    seen: list[tuple[float, float]] = []
    real = trainer._OptimizerPhase.on_optimizer_step

    def spy(self: Any, *given: Any, **options: Any) -> None:
        (weight,) = self.trainer.objective.parameters()
        seen.append((float(weight.detach()), float(weight.grad)))
        real(self, *given, **options)
        assert weight.grad is None
        assert self.trainer.optimizer.param_groups[-1]["weight_decay"] == 0

    arm = {**ARMS["ctkd"], "temperature": {"name": "ctkd", "start": 0.5}}
    run = trainings(make_suite({**LONG, "arms": {"ctkd": arm}}))
    monkeypatch.setattr(trainer._OptimizerPhase, "on_optimizer_step", spy)
    run.train(run.find(arm="ctkd"))
    assert seen[0] == (0.5, 0)
    assert len({weight for weight, _ in seen[1:]}) == 4


@pytest.mark.parametrize("arm", ["ctkd", "egad"])
def test_a_teacher_that_is_remembered_teaches_as_one_that_reads(
    make_suite, trainings, arm: str
) -> None:
    ends = []
    for cache in ("off", "float32"):
        run = trainings(make_suite({**LONG, "teacher.cache": cache}), cache)
        ends.append(run.train(run.find(arm=arm)).steps)
    for one, other in zip(*ends, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)


def test_a_state_that_was_cut_short_completes_nothing(tmp_path, monkeypatch) -> None:
    def cut(_: Any, file: Any) -> None:
        file.write_bytes(b"half")
        raise OSError("cut")

    objective = Objective("reverse_kl", "egad", 4, widths=(2, 2))
    checkpoint = tmp_path / "checkpoint-2"
    checkpoint.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", cut)
        with pytest.raises(OSError, match="cut"):
            checkpoints.save_state(objective, checkpoint)
    assert not (checkpoint / COMPLETE).exists()
    assert checkpoints.newest_checkpoint(tmp_path) is None
    checkpoint.mkdir()
    checkpoints.save_state(objective, checkpoint)
    assert checkpoints.newest_checkpoint(tmp_path) == checkpoint
    checkpoints.load_state(objective, checkpoint)


# --- what a power cut leaves ------------------------------------------------------------------


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "empty": lambda file: file.write_bytes(b""),
    "half": halve,
    "flipped": flip,
    "gone": Path.unlink,
}


def made_checkpoint(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.pt", "trainer_state.json"):
        (checkpoint / name).write_bytes(os.urandom(64))
    checkpoints.save_state(Objective("reverse_kl", "egad", 4, widths=(2, 2)), checkpoint)
    return checkpoint


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", [STATE, COMPLETE, "model.safetensors", "trainer_state.json"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, name: str, how: str
) -> None:
    older, newer = made_checkpoint(tmp_path, 4), made_checkpoint(tmp_path, 12)
    (tmp_path / "checkpoint-x").mkdir()
    notes: list[str] = []
    assert checkpoints.newest_checkpoint(tmp_path, notes.append) == newer
    assert notes == []
    DAMAGE[how](newer / name)
    assert checkpoints.newest_checkpoint(tmp_path, notes.append) == older
    assert not newer.exists()
    assert len(notes) == (name != COMPLETE or how != "gone")  # as killed while it was written
    assert all("checkpoint-12: " in note and "\n" not in note for note in notes)
    DAMAGE[how](older / name)
    assert checkpoints.newest_checkpoint(tmp_path, notes.append) is None


def test_all_of_a_checkpoint_is_on_the_disk_before_it_counts(tmp_path: Path, monkeypatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        assert not (tmp_path / "checkpoint-4" / COMPLETE).exists() or "done" in synced
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)
        real(descriptor)

    def replace(*paths: Path) -> None:
        synced.append("done")
        Path(paths[0]).rename(paths[1])

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    checkpoint = made_checkpoint(tmp_path, 4)
    before = synced[: synced.index("done")]
    assert {file.name for file in checkpoint.iterdir()} - {COMPLETE} <= set(before)
    assert {checkpoint.name, f"{COMPLETE}.part"} <= set(before)
    assert synced[synced.index("done") + 1 :] == [checkpoint.name, tmp_path.name]


@pytest.mark.parametrize("left", [1, 0])
def test_a_training_with_damaged_checkpoints_ends_the_same(
    make_suite, trainings, left: int
) -> None:
    suite = make_suite(LONG)
    straight, broken = trainings(suite, "straight"), trainings(suite, "broken")
    cell = straight.find(arm="ctkd")
    straight.train(cell)

    def kill(done: int) -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        broken.train(cell, kill)
    found = sorted(broken.home(cell).with_name("checkpoints").glob("checkpoint-*"))
    assert [checkpoint.name for checkpoint in found] == ["checkpoint-2", "checkpoint-4"]
    for checkpoint in found[left:]:
        (checkpoint / "optimizer.pt").write_bytes(b"")
    seen: list[int] = []
    notes: list[str] = []
    again = trainings(suite, "broken")
    again.train(cell, seen.append, note=notes.append)
    assert seen == list(range(1 + 2 * left, 6))
    assert len(notes) == 2 - left
    assert all("optimizer.pt is damaged" in note for note in notes)
    assert equal(saved(again, cell), saved(straight, cell))


def test_a_checkpoint_of_another_objective_is_dropped(make_suite, trainings) -> None:
    run = trainings(make_suite(LONG))
    cell, notes = run.find(), []
    folder = run.home(cell).with_name("checkpoints")
    made_checkpoint(folder, 2)
    assert run.train(cell, note=notes.append).status == "done"
    assert len(notes) == 1
