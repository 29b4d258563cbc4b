"""What learns along with the student: in its optimizer and checkpoints, and not in its model."""

from typing import Any

import pytest
import torch
from torch import Tensor

from adakd.losses.objective import Objective
from adakd.training import checkpoints, trainer
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

    monkeypatch.setattr(trainer, "DistillationTrainer", Spied)
    return seen


def values(objective: Objective) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in objective.parameters()]


def saved(shop: Any, cell: Any) -> dict[str, Tensor]:
    return dict(shop.load(cell).state_dict())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("arm", ["ctkd", "egad"])
@pytest.mark.parametrize("forget", [False, True])
def test_a_killed_training_goes_on_with_what_was_learned(
    make_suite, workshop, of, objectives, monkeypatch, arm: str, forget: bool
) -> None:
    """And without it ends elsewhere: the negative, which tells that the state matters."""
    suite = make_suite({**LONG, "training.gradient_accumulation": 2})
    straight, broken = workshop(suite, "straight"), workshop(suite, "broken")
    for shop in (straight, broken):
        shop.train(of(shop, "teacher"))
    cell = of(straight, arm=arm)
    whole = straight.train(cell)
    (end,) = values(objectives[-1])

    def kill(done: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        broken.train(cell, kill)
    if forget:
        monkeypatch.setattr(trainer, "load_state", lambda *_: None)
    broken = workshop(suite, "broken")
    mended = broken.train(cell)
    (resumed,) = values(objectives[-1])
    assert torch.equal(resumed, end) is not forget
    assert equal(saved(broken, cell), saved(straight, cell)) is not forget
    if not forget:
        wanted = [step.model_dump(exclude={"seconds"}) for step in whole.steps]
        assert [step.model_dump(exclude={"seconds"}) for step in mended.steps] == wanted


@pytest.mark.parametrize("lora", [None, {"r": 2}], ids=["full", "lora"])
@pytest.mark.parametrize("arm", ARMS)
def test_it_is_learned_and_no_part_of_the_student(
    make_suite, workshop, of, objectives, arm: str, lora: Any
) -> None:
    shop = workshop(make_suite({**LONG, "training.lora": lora}))
    shop.train(of(shop, "teacher"))
    plain, cell = of(shop), of(shop, arm=arm)
    records = [shop.train(each) for each in (plain, cell)]
    assert records[1].status == "done"
    assert records[0].parameters == records[1].parameters
    files = [{file.name for file in shop.home(each).iterdir()} for each in (plain, cell)]
    assert files[0] == files[1]
    assert not equal(saved(shop, plain), saved(shop, cell))
    before = values(shop.objective(cell, shop.untrained(1)))
    after = values(objectives[-1])
    assert len(before) == len(after) == (arm != "zscore")
    assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))
    if arm == "ctkd":
        assert len({step.temperature for step in records[1].steps}) > 2
    if arm == "egad":
        assert tuple(after[0].shape) == (32, 16)


def test_its_gradients_last_one_step_and_its_weights_do_not_decay(
    make_suite, workshop, of, monkeypatch: pytest.MonkeyPatch
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
    shop = workshop(make_suite({**LONG, "arms": {"ctkd": arm}}))
    shop.train(of(shop, "teacher"))
    monkeypatch.setattr(trainer._OptimizerPhase, "on_optimizer_step", spy)
    shop.train(of(shop, arm="ctkd"))
    assert seen[0] == (0.5, 0)
    assert len({weight for weight, _ in seen[1:]}) == 4


@pytest.mark.parametrize("arm", ["ctkd", "egad"])
def test_a_teacher_that_is_remembered_teaches_as_one_that_reads(
    make_suite, workshop, of, arm: str
) -> None:
    ends = []
    for cache in ("off", "float32"):
        shop = workshop(make_suite({**LONG, "teacher.cache": cache}), cache)
        shop.train(of(shop, "teacher"))
        ends.append(shop.train(of(shop, arm=arm)).steps)
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
