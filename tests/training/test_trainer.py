"""One training: fair between arms, the same for any batch split, and whole after any crash."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

import adakd
from adakd.errors import AdakdError
from adakd.store.steps import Phase, Steps
from adakd.training import trainer
from adakd.training.checkpoints import COMPLETE, STATE, complete

NEUTRAL = {
    "name": "adakd",
    "focus": {"name": "fixed", "ratio": 1},
    "temperature": {"name": "idts", "c": 0},
}
RESTLESS = {
    "name": "adakd",
    "focus": {"name": "latf", "warmup": 0, "beta": 0, "eps": 1e-4, "delta": 0.3},
}
"""An arm whose ratio moves with every step's loss."""


def weights(run: Any, cell: Any) -> dict[str, Tensor]:
    return dict(run.load(cell).state_dict())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def without_times(steps: Steps) -> list[dict[str, Any]]:
    return [step.model_dump(exclude={"seconds"}) for step in steps]


class Killed(Exception):
    pass


def killed_after(steps: int) -> Callable[[int], None]:
    def on_step(done: int) -> None:
        if done == steps:
            raise Killed

    return on_step


# --- the two arms -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training.gradient_accumulation": 2},
        {"training.lora": {"r": 2, "dropout": 0.1}},
        {"training.precision": "bf16"},
        {"divergences": [{"name": "skew_reverse_kl", "lam": 0.2}]},
    ],
    ids=str,
)
def test_a_neutral_adakd_trains_to_the_plain_arms_very_weights(
    make_suite, trainings, changes: dict[str, Any]
) -> None:
    """All tokens kept at temperature 1: then nothing differs, not even dropout and data order."""
    arms = {"neutral": NEUTRAL, "adakd": "adakd"}
    suite = make_suite({"arms": arms, "student.config.attention_dropout": 0.1, **changes})
    run = trainings(suite)
    plain, neutral, real = (run.find(arm=arm) for arm in ("plain", "neutral", "adakd"))
    records = [run.train(cell) for cell in (plain, neutral, real)]
    assert equal(weights(run, plain), weights(run, neutral))
    assert without_times(records[0].steps) == without_times(records[1].steps)
    assert not equal(weights(run, plain), weights(run, real))


def test_arms_begin_with_the_same_student_and_the_teacher_stays(make_suite, trainings) -> None:
    run = trainings(make_suite())
    teacher = {name: value.clone() for name, value in run.teacher.live.model.state_dict().items()}
    losses = [run.train(run.find(arm=arm)).steps[0] for arm in ("plain", "adakd")]
    assert equal(dict(run.teacher.live.model.state_dict()), teacher)
    untrained = run.context.initial(run.find()).state_dict()
    assert not equal(untrained, weights(run, run.find()))
    assert equal(untrained, weights(run, run.find("untrained")))
    assert losses[0].learning_rate == losses[1].learning_rate


def test_a_seed_decides_weights_and_order(
    make_suite, trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainings(make_suite({"seeds": [1, 2], "teacher.sft.steps": 2}))
    one, other = (run.context.initial(c) for c in run.distilled() if c.arm == "plain")
    assert not equal(dict(one.state_dict()), dict(other.state_dict()))
    seen: list[Tensor] = []
    real = trainer.distillation_loss

    def spy(student: Any, teacher: Any, objective: Any, batch: Any, *rest: Any) -> Any:
        seen.append(batch["input_ids"])
        return real(student, teacher, objective, batch, *rest)

    monkeypatch.setattr(trainer, "distillation_loss", spy)
    batches: dict[tuple[int, str], list[Tensor]] = {}
    for cell in run.distilled():
        run.train(cell)
        batches[cell.seed, cell.arm], seen[:] = list(seen), []
    for seed in (1, 2):
        pairs = zip(batches[seed, "plain"], batches[seed, "adakd"], strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    first, second = batches[1, "plain"], batches[2, "plain"]
    assert not any(torch.equal(one, other) for one, other in zip(first, second, strict=True))


# --- batches ----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["distilled", "sft"])
def test_any_split_of_a_batch_gives_the_same_training(make_suite, trainings, role: str) -> None:
    """Micro-batches count different numbers of tokens: each token must weigh the same."""
    trained = []
    for batch, accumulation in ((8, 1), (4, 2), (2, 4)):
        sizes = {
            "training.batch_size": batch,
            "training.gradient_accumulation": accumulation,
            "training.learning_rate": 1e-3,
        }
        run = trainings(make_suite({"teacher.sft.steps": 2, **sizes}), f"run{batch}")
        record = run.train(run.find(role))
        trained.append((weights(run, run.find(role)), record.steps))
    whole, steps = trained[0]
    for parts, its_steps in trained[1:]:
        for one, other in zip(steps, its_steps, strict=True):
            assert one.loss == pytest.approx(other.loss, rel=1e-4)
            assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-3)
        for name, weight in whole.items():
            torch.testing.assert_close(parts[name], weight, rtol=1e-3, atol=2e-5)


# --- killed and continued ---------------------------------------------------------------------

LONG = {
    "arms": {"restless": RESTLESS},
    "training.steps": 7,
    "training.save_every": 2,
    "teacher.sft.steps": 2,
}


@pytest.mark.parametrize("arm", ["plain", "restless"])
@pytest.mark.parametrize("lora", [None, {"r": 2, "dropout": 0.1}], ids=["full", "lora"])
def test_a_killed_training_goes_on_to_the_same_end(make_suite, trainings, arm, lora) -> None:
    suite = make_suite({**LONG, "training.lora": lora, "student.config.attention_dropout": 0.1})
    straight, broken = trainings(suite, "straight"), trainings(suite, "broken")
    cell = straight.find(arm=arm)
    whole = straight.train(cell)
    for kill_at in (5, 6):  # twice; what followed the last checkpoint is done again
        with pytest.raises(Killed):
            broken.train(cell, killed_after(kill_at))
        assert not broken.home(cell).exists()
        broken = trainings(suite, "broken")
    seen: list[int] = []
    mended = broken.train(cell, seen.append)
    assert seen == [5, 6, 7]
    assert without_times(mended.steps) == without_times(whole.steps)
    assert equal(weights(broken, cell), weights(straight, cell))
    assert not broken.home(cell).with_name("checkpoints").exists()
    if arm == "restless":
        ratios = [step.kept_ratio for step in whole.steps]
        assert len({round(ratio, 1) for ratio in ratios}) >= 3  # or the state would not matter


def test_the_state_of_the_method_is_what_goes_on(make_suite, trainings) -> None:
    """The negative of the test above: without the state the end is another one."""
    suite = make_suite(LONG)
    made = trainings(suite, "right")
    cell = made.find(arm="restless")
    with pytest.raises(Killed):
        made.train(cell, killed_after(5))
    shutil.copytree(made.folder, made.folder.with_name("forgetful"))
    ends = [trainings(suite, name) for name in ("right", "forgetful")]
    files = list(ends[1].home(cell).with_name("checkpoints").glob(f"*/{STATE}"))
    assert files
    for file in files:
        state = torch.load(file, weights_only=True)
        assert state["focus"]["ratio"] < 1
        fresh = {"ratio": 1.0, "ema": None, "reference": None, "step": 0}
        torch.save({**state, "focus": fresh}, file)
        complete(file.parent)
    for end in ends:
        end.train(cell)
    assert not equal(*(weights(end, cell) for end in ends))


def test_an_incomplete_checkpoint_is_passed_over(make_suite, trainings) -> None:
    suite = make_suite({**LONG, "training.steps": 6})
    straight, broken = trainings(suite, "straight"), trainings(suite, "broken")
    cell = straight.find()
    whole = straight.train(cell)
    with pytest.raises(Killed):
        broken.train(cell, killed_after(5))
    checkpoints = broken.home(cell).with_name("checkpoints")
    (checkpoints / "checkpoint-4" / COMPLETE).unlink()
    for file in (checkpoints / "checkpoint-4").glob("*.safetensors"):
        file.write_bytes(b"half")
    seen: list[int] = []
    mended = trainings(suite, "broken").train(cell, seen.append)
    assert seen == [3, 4, 5, 6]
    assert without_times(mended.steps) == without_times(whole.steps)
    assert equal(weights(broken, cell), weights(straight, cell))


@pytest.mark.parametrize("role", ["teacher", "distilled"])
def test_killed_between_the_model_and_its_record(make_suite, trainings, role: str) -> None:
    """Trained again from its start: never trained twice, never stuck."""
    run = trainings(make_suite())
    cell = run.find(role)
    run.train(cell)
    once = {name: value.clone() for name, value in weights(run, cell).items()}
    run.train(cell)
    assert equal(weights(run, cell), once)


def test_a_full_disk_is_named(make_suite, trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    run = trainings(make_suite({"teacher.sft.save_every": 1}))
    with monkeypatch.context() as patched:
        patched.setattr("transformers.Trainer._save_checkpoint", full)
        with pytest.raises(AdakdError, match=r"checkpoints: No space left on device.*same command"):
            run.train(run.find("teacher"))
    assert run.train(run.find("teacher")).status == "done"


# --- a loss that is not finite ----------------------------------------------------------------


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_is_a_failure_with_its_step(
    make_suite, trainings, tmp_path: Path, what: str
) -> None:
    ends = {"loss": "values * float('nan')", "gradient": "Bad.apply(values)"}
    (tmp_path / "sudden.py").write_text(
        "import torch\n"
        "from adakd import divergence\n"
        "calls = 0\n"
        "class Bad(torch.autograd.Function):\n"
        "    forward = staticmethod(lambda ctx, values: values.clone())\n"
        "    backward = staticmethod(lambda ctx, gradient: gradient * float('inf'))\n"
        "@divergence('sudden')\n"
        "def sudden(student, teacher):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    values = (student.exp() * (student - teacher)).sum(-1)\n"
        "    if calls < 3:\n"
        "        return values\n"
        f"    return {ends[what]}\n"
    )
    suite = make_suite({"plugins": ["./sudden.py"], "divergences": ["sudden"], "arms": {}})
    run = trainings(suite)
    record = run.train(run.find())
    assert record.status == "failed"
    assert f"the {what} is not finite at step 3" in str(record.reason)
    assert [step.step for step in record.steps] == [1, 2]
    assert not run.home(run.find()).exists()
    assert not run.home(run.find()).with_name("checkpoints").exists()


# --- what a record says -----------------------------------------------------------------------


def test_a_record_says_what_was_trained_on_what(make_suite, trainings) -> None:
    suite = make_suite(
        {"data.max_prompt_tokens": 20, "training.schedule": "linear", "training.warmup": 0.5}
    )
    run = trainings(suite)
    told: list[int] = []
    record = run.train(run.find(), told.append)
    assert (record.status, record.reason, record.key) == ("done", None, run.find().key)
    assert told == [step.step for step in record.steps] == [1, 2, 3, 4]
    assert record.rows + record.left_out == 40
    assert record.left_out > 0
    assert record.parameters == record.trainable == run.load(run.find()).num_parameters()
    rates = [step.learning_rate for step in record.steps]
    assert max(rates) <= suite.training.learning_rate
    for step in record.steps:
        assert step.loss > 0
        assert step.grad_norm > 0
        assert (step.kept_ratio, step.temperature) == (1, 1)
        assert set(step.seconds) == set(get_args(Phase)) - {"generation", "selection"}
        assert min(step.seconds.values()) > 0
    assert 0 < sum(sum(step.seconds.values()) for step in record.steps) < record.seconds


def test_a_teacher_in_training_has_no_teacher(make_suite, trainings) -> None:
    run = trainings(make_suite())
    record = run.train(run.find("teacher"))
    phases = set(get_args(Phase)) - {"teacher", "generation", "selection"}
    assert all(set(step.seconds) == phases for step in record.steps)
    assert not run.train(run.find("untrained")).steps


def test_an_adaptive_step_says_what_it_kept(make_suite, trainings) -> None:
    """Each step its own share, over all of its micro-batches."""
    arm = {"name": "adakd", "focus": {"name": "linear", "start": 1, "end": 0.2}}
    run = trainings(make_suite({"arms": {"less": arm}, "training.gradient_accumulation": 2}))
    steps = run.train(run.find(arm="less")).steps
    for step, expected in zip(steps, (1, 0.8, 0.6, 0.4), strict=True):
        assert step.kept_ratio == pytest.approx(expected, abs=0.05)
        assert step.temperature != 1


def test_adapters_are_what_is_trainable(make_suite, trainings) -> None:
    run = trainings(make_suite({"training.lora": {"r": 2}}))
    record = run.train(run.find())
    assert 0 < record.trainable < record.parameters
    assert (run.home(run.find()) / "adapter_config.json").exists()
    base, trained = run.context.initial(run.find()).state_dict(), weights(run, run.find())
    assert base.keys() == trained.keys()
    assert not equal(dict(base), trained)


def test_a_teacher_trained_by_adapters_is_a_teacher(make_suite, trainings) -> None:
    """Its adapters belong on its own base, not on the student's."""
    lora = {"r": 2, "alpha": 8}
    for student in ({"kind": "pruned", "drop_layers": [1]}, None):
        changes = {"teacher.sft.lora": lora} | ({"student": student} if student else {})
        run = trainings(make_suite(changes), f"run-{bool(student)}")
        start, trained = run.context.initial(run.find("teacher")), run.load(run.find("teacher"))
        assert trained.config.hidden_size == 32
        assert not equal(dict(start.state_dict()), dict(trained.state_dict()))
        assert run.train(run.find()).status == "done"


def test_epochs_are_as_many_steps_as_planned(make_suite, trainings) -> None:
    epochs = {"training.steps": ..., "training.epochs": 1.5, "training.batch_size": 16}
    run = trainings(make_suite({**epochs, "teacher.sft.steps": 1}))
    record = run.train(run.find())
    planned = next(one for one in run.plan.assignments if one.cell == run.find())
    assert len(record.steps) == run.plan.length(planned)[0] == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_kernels_of_a_suite_are_those_of_its_losses(make_suite, trainings) -> None:
    run = trainings(make_suite({"training.kernels": "triton"}))
    with pytest.raises(AdakdError, match="triton"):
        run.train(run.find())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_triton_that_cannot_run_is_an_error_before_any_training(make_suite, tmp_path: Path) -> None:
    with pytest.raises(AdakdError, match="triton"):
        adakd.run(make_suite({"training.kernels": "triton"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- a gradient scaler ------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "status"), [(2.0**24, "done"), (0.5, "failed")])
def test_an_overflow_that_a_smaller_scale_mends_is_no_failure(
    make_suite, trainings, monkeypatch, scale: float, status: str
) -> None:
    """A GPU's float16, here on the CPU: its first scale is a guess, and too large at times."""
    made = trainer.DistillationTrainer.create_accelerator_and_postprocess

    def with_scaler(self: Any) -> None:
        made(self)
        self.accelerator.native_amp = True
        self.accelerator.scaler = torch.amp.GradScaler(self.args.device.type, init_scale=scale)
        if status == "failed":  # whatever the scale
            last = list(self.model.parameters())[-1]
            last.register_hook(lambda gradient: gradient * torch.inf)

    run = trainings(make_suite({"training.precision": "fp16", "training.steps": 6}))
    before = weights(run, run.find("untrained"))
    monkeypatch.setattr(
        trainer.DistillationTrainer, "create_accelerator_and_postprocess", with_scaler
    )
    record = run.train(run.find())
    assert record.status == status, record.reason
    if status == "done":
        norms = [step.grad_norm for step in record.steps]
        assert not all(map(math.isfinite, norms))
        assert math.isfinite(norms[-1])
        assert not equal(weights(run, run.find()), before)
