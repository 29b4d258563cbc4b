"""One training: fair between arms, the same for any batch split, and whole after any crash."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from adakd.commands.run import run
from adakd.errors import AdakdError
from adakd.store.records import Phase, Step
from adakd.training import trainer
from adakd.training.checkpoints import COMPLETE
from adakd.training.context import Workshop

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


def weights(workshop: Workshop, cell: Any) -> dict[str, Tensor]:
    return dict(workshop.load(cell).state_dict())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def without_times(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
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
    make_suite, workshop, of, changes: dict[str, Any]
) -> None:
    """All tokens kept at temperature 1: then nothing differs, not even dropout and data order."""
    arms = {"neutral": NEUTRAL, "adakd": "adakd"}
    suite = make_suite({"arms": arms, "student.config.attention_dropout": 0.1, **changes})
    shop = workshop(suite)
    shop.train(of(shop, "teacher"))
    plain, neutral, real = (of(shop, arm=arm) for arm in ("plain", "neutral", "adakd"))
    records = [shop.train(cell) for cell in (plain, neutral, real)]
    assert equal(weights(shop, plain), weights(shop, neutral))
    assert without_times(records[0].steps) == without_times(records[1].steps)
    assert not equal(weights(shop, plain), weights(shop, real))


def test_arms_begin_with_the_same_student_and_the_teacher_stays(make_suite, workshop, of) -> None:
    shop = workshop(make_suite())
    shop.train(of(shop, "teacher"))
    teacher = {name: value.clone() for name, value in shop.teacher.state_dict().items()}
    losses = [shop.train(of(shop, arm=arm)).steps[0] for arm in ("plain", "adakd")]
    assert equal(dict(shop.teacher.state_dict()), teacher)
    untrained = shop.untrained(1).state_dict()
    assert not equal(untrained, weights(shop, of(shop)))
    assert equal(untrained, weights(shop, of(shop, "untrained")))
    assert losses[0].learning_rate == losses[1].learning_rate


def test_a_seed_decides_weights_and_order(
    make_suite, workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = workshop(make_suite({"seeds": [1, 2], "teacher.sft.steps": 2}))
    shop.train(shop.plan.teacher)
    assert not equal(dict(shop.untrained(1).state_dict()), dict(shop.untrained(2).state_dict()))
    seen: list[Tensor] = []
    real = trainer.distillation_loss

    def spy(student: Any, teacher: Any, objective: Any, batch: Any, clock: Any) -> Any:
        seen.append(batch["input_ids"])
        return real(student, teacher, objective, batch, clock)

    monkeypatch.setattr(trainer, "distillation_loss", spy)
    batches: dict[tuple[int, str], list[Tensor]] = {}
    for cell in (cell for cell in shop.plan.cells if cell.role == "distilled"):
        shop.train(cell)
        batches[cell.seed, cell.arm], seen[:] = list(seen), []
    for seed in (1, 2):
        pairs = zip(batches[seed, "plain"], batches[seed, "adakd"], strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    first, second = batches[1, "plain"], batches[2, "plain"]
    assert not any(torch.equal(one, other) for one, other in zip(first, second, strict=True))


# --- batches ----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["distilled", "sft"])
def test_any_split_of_a_batch_gives_the_same_training(make_suite, workshop, of, role: str) -> None:
    """Micro-batches count different numbers of tokens: each token must weigh the same."""
    trained = []
    for batch, accumulation in ((8, 1), (4, 2), (2, 4)):
        sizes = {
            "training.batch_size": batch,
            "training.gradient_accumulation": accumulation,
            "training.learning_rate": 1e-3,
        }
        shop = workshop(make_suite({"teacher.sft.steps": 2, **sizes}), f"run{batch}")
        shop.train(of(shop, "teacher"))
        record = shop.train(of(shop, role))
        trained.append((weights(shop, of(shop, role)), record.steps))
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
def test_a_killed_training_goes_on_to_the_same_end(make_suite, workshop, of, arm, lora) -> None:
    suite = make_suite({**LONG, "training.lora": lora, "student.config.attention_dropout": 0.1})
    straight, broken = workshop(suite, "straight"), workshop(suite, "broken")
    for shop in (straight, broken):
        shop.train(of(shop, "teacher"))
    cell = of(straight, arm=arm)
    whole = straight.train(cell)
    for kill_at in (5, 6):  # twice; what followed the last checkpoint is done again
        with pytest.raises(Killed):
            broken.train(cell, killed_after(kill_at))
        assert not broken.home(cell).exists()
        broken = workshop(suite, "broken")
    seen: list[int] = []
    mended = broken.train(cell, seen.append)
    assert seen == [5, 6, 7]
    assert without_times(mended.steps) == without_times(whole.steps)
    assert equal(weights(broken, cell), weights(straight, cell))
    assert not broken.home(cell).with_name("checkpoints").exists()
    if arm == "restless":
        ratios = [step.kept_ratio for step in whole.steps]
        assert len({round(ratio, 1) for ratio in ratios}) >= 3  # or the state would not matter


def test_the_state_of_the_method_is_what_goes_on(make_suite, workshop, of) -> None:
    """The negative of the test above: without the state the end is another one."""
    suite = make_suite(LONG)
    ends = []
    for forget in (False, True):
        shop = workshop(suite, f"run{forget}")
        shop.train(of(shop, "teacher"))
        cell = of(shop, arm="restless")
        with pytest.raises(Killed):
            shop.train(cell, killed_after(5))
        for file in shop.home(cell).with_name("checkpoints").glob(f"*/{COMPLETE}"):
            state = torch.load(file, weights_only=True)
            assert state["focus"]["ratio"] < 1
            if forget:
                fresh = {"ratio": 1.0, "ema": None, "reference": None, "step": 0}
                torch.save({**state, "focus": fresh}, file)
        workshop(suite, f"run{forget}").train(cell)
        ends.append(weights(shop, cell))
    assert not equal(*ends)


def test_an_incomplete_checkpoint_is_passed_over(make_suite, workshop, of) -> None:
    suite = make_suite({**LONG, "training.steps": 6})
    straight, broken = workshop(suite, "straight"), workshop(suite, "broken")
    cell = of(straight)
    for shop in (straight, broken):
        shop.train(of(shop, "teacher"))
    whole = straight.train(cell)
    with pytest.raises(Killed):
        broken.train(cell, killed_after(5))
    checkpoints = broken.home(cell).with_name("checkpoints")
    (checkpoints / "checkpoint-4" / COMPLETE).unlink()
    for file in (checkpoints / "checkpoint-4").glob("*.safetensors"):
        file.write_bytes(b"half")
    seen: list[int] = []
    mended = workshop(suite, "broken").train(cell, seen.append)
    assert seen == [3, 4, 5, 6]
    assert without_times(mended.steps) == without_times(whole.steps)
    assert equal(weights(broken, cell), weights(straight, cell))


@pytest.mark.parametrize("role", ["teacher", "distilled"])
def test_killed_between_the_model_and_its_record(make_suite, workshop, of, role: str) -> None:
    """Trained again from its start: never trained twice, never stuck."""
    shop = workshop(make_suite())
    shop.train(of(shop, "teacher"))
    cell = of(shop, role)
    shop.train(cell)
    once = {name: value.clone() for name, value in weights(shop, cell).items()}
    shop.train(cell)
    assert equal(weights(shop, cell), once)


def test_a_full_disk_is_named(make_suite, workshop, of, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    shop = workshop(make_suite())
    with monkeypatch.context() as patched:
        patched.setattr("transformers.Trainer._save_checkpoint", full)
        with pytest.raises(AdakdError, match=r"checkpoints: No space left on device.*same command"):
            shop.train(of(shop, "teacher"))
    assert shop.train(of(shop, "teacher")).status == "done"


# --- a loss that is not finite ----------------------------------------------------------------


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_is_a_failure_with_its_step(
    make_suite, workshop, of, tmp_path: Path, what: str
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
    shop = workshop(suite)
    shop.train(of(shop, "teacher"))
    record = shop.train(of(shop))
    assert record.status == "failed"
    assert f"the {what} is not finite at step 3" in str(record.reason)
    assert [step.step for step in record.steps] == [1, 2]
    assert not shop.home(of(shop)).exists()
    assert not shop.home(of(shop)).with_name("checkpoints").exists()


# --- what a record says -----------------------------------------------------------------------


def test_a_record_says_what_was_trained_on_what(make_suite, workshop, of) -> None:
    suite = make_suite(
        {"data.max_prompt_tokens": 20, "training.schedule": "linear", "training.warmup": 0.5}
    )
    shop = workshop(suite)
    told: list[int] = []
    shop.train(of(shop, "teacher"))
    record = shop.train(of(shop), told.append)
    assert (record.status, record.reason, record.key) == ("done", None, of(shop).key)
    assert told == [step.step for step in record.steps] == [1, 2, 3, 4]
    assert record.rows + record.left_out == 40
    assert record.left_out > 0
    assert record.parameters == record.trainable == shop.load(of(shop)).num_parameters()
    rates = [step.learning_rate for step in record.steps]
    assert max(rates) <= suite.training.learning_rate
    for step in record.steps:
        assert step.loss > 0
        assert step.grad_norm > 0
        assert (step.kept_ratio, step.temperature) == (1, 1)
        assert set(step.seconds) == set(get_args(Phase)) - {"generation"}
        assert min(step.seconds.values()) > 0
    assert 0 < sum(sum(step.seconds.values()) for step in record.steps) < record.seconds


def test_a_teacher_in_training_has_no_teacher(make_suite, workshop, of) -> None:
    shop = workshop(make_suite())
    record = shop.train(of(shop, "teacher"))
    phases = set(get_args(Phase)) - {"teacher", "generation"}
    assert all(set(step.seconds) == phases for step in record.steps)
    assert shop.train(of(shop, "untrained")).steps == ()


def test_an_adaptive_step_says_what_it_kept(make_suite, workshop, of) -> None:
    """Each step its own share, over all of its micro-batches."""
    arm = {"name": "adakd", "focus": {"name": "linear", "start": 1, "end": 0.2}}
    shop = workshop(make_suite({"arms": {"less": arm}, "training.gradient_accumulation": 2}))
    shop.train(of(shop, "teacher"))
    steps = shop.train(of(shop, arm="less")).steps
    for step, expected in zip(steps, (1, 0.8, 0.6, 0.4), strict=True):
        assert step.kept_ratio == pytest.approx(expected, abs=0.05)
        assert step.temperature != 1


def test_adapters_are_what_is_trainable(make_suite, workshop, of) -> None:
    shop = workshop(make_suite({"training.lora": {"r": 2}}))
    shop.train(of(shop, "teacher"))
    record = shop.train(of(shop))
    assert 0 < record.trainable < record.parameters
    assert (shop.home(of(shop)) / "adapter_config.json").exists()
    base, trained = shop.untrained(1).state_dict(), weights(shop, of(shop))
    assert base.keys() == trained.keys()
    assert not equal(dict(base), trained)


def test_a_teacher_trained_by_adapters_is_a_teacher(make_suite, workshop, of) -> None:
    """Its adapters belong on its own base, not on the student's."""
    lora = {"r": 2, "alpha": 8}
    for student in ({"kind": "pruned", "drop_layers": [1]}, None):
        changes = {"teacher.sft.lora": lora} | ({"student": student} if student else {})
        shop = workshop(make_suite(changes), f"run-{bool(student)}")
        shop.train(of(shop, "teacher"))
        start, trained = shop.start(of(shop, "teacher")), shop.load(of(shop, "teacher"))
        assert trained.config.hidden_size == 32
        assert not equal(dict(start.state_dict()), dict(trained.state_dict()))
        assert shop.train(of(shop)).status == "done"


def test_epochs_are_as_many_steps_as_planned(make_suite, workshop, of) -> None:
    epochs = {"training.steps": ..., "training.epochs": 1.5, "training.batch_size": 16}
    shop = workshop(make_suite({**epochs, "teacher.sft.steps": 1}))
    shop.train(of(shop, "teacher"))
    record = shop.train(of(shop))
    assert len(record.steps) == shop.plan.length(of(shop))[0] == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_kernels_of_a_suite_are_those_of_its_losses(make_suite, workshop, of) -> None:
    shop = workshop(make_suite({"training.kernels": "triton"}))
    shop.train(of(shop, "teacher"))
    with pytest.raises(AdakdError, match="triton"):
        shop.train(of(shop))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_triton_that_cannot_run_is_an_error_before_any_training(make_suite, tmp_path: Path) -> None:
    with pytest.raises(AdakdError, match="triton"):
        run(make_suite({"training.kernels": "triton"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
