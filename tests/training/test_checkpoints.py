"""What learns along with the student: in its optimizer and checkpoints, and not in its model."""

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from adakd.losses.objective import Objective
from adakd.training import checkpoints, fitting, trainer
from adakd.training.checkpoints import COMPLETE

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
    return [parameter.detach().clone() for parameter in objective.parameters()]


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
