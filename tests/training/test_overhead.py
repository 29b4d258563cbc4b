"""The overhead measurement: both arms on the same batches, neither always first."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch

from adakd.config import Timing
from adakd.data.example import IGNORED
from adakd.losses.objective import Objective
from adakd.planning import timing_key
from adakd.store.records import TimingRecord
from adakd.store.steps import Phase
from adakd.training import overhead


@pytest.fixture
def run(make_suite, trainings) -> Callable[..., Any]:
    def make(pairs: int, warmup: int, rows: int = 40) -> Any:
        timing = {"pairs": pairs, "warmup": warmup}
        changes = {"teacher.sft.steps": 1, "timing": timing, "data.train.rows": rows}
        made: Any = trainings(make_suite(changes))
        return made

    return make


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The objective and batch of every step, as they meet the models."""
    steps: list[tuple[str, Any]] = []
    real = overhead.distillation_loss

    def spy(student: Any, teacher: Any, objective: Objective, batch: Any, *rest: Any) -> Any:
        steps.append(("plain" if objective.adaptive is None else "adakd", batch))
        return real(student, teacher, objective, batch, *rest)

    monkeypatch.setattr(overhead, "distillation_loss", spy)
    return steps


def measure(run: Any, told: Any = None) -> TimingRecord:
    record: TimingRecord = run.measure(*([told] if told else []))
    return record


def test_the_arms_take_turns_in_going_first_on_the_same_batches(run, seen) -> None:
    told: list[int] = []
    record = measure(run(3, 2), told.append)
    seen, memory = seen[:-2], seen[-2:]
    assert [arm for arm, _ in seen] == ["plain", "adakd", "adakd", "plain"] * 2 + ["plain", "adakd"]
    for (_, one), (_, other) in zip(seen[::2], seen[1::2], strict=True):
        assert all(torch.equal(one[field], other[field]) for field in one)
    batches = [batch["input_ids"] for _, batch in seen[::2]]
    assert not any(torch.equal(one, other) for one, other in pairwise(batches))
    assert len(record.pairs) == 3
    assert told == [1, 2, 3, 4, 5]
    counted = [int((batch["labels"][:, 1:] != IGNORED).sum()) for _, batch in seen[4::2]]
    assert record.tokens == round(sum(counted) / 3)
    largest = max(batches, key=torch.Tensor.numel)
    assert [arm for arm, _ in memory] == ["plain", "adakd"]
    assert all(torch.equal(batch["input_ids"], largest) for _, batch in memory)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("cache", ["fp16", "off"])
def test_the_first_step_is_that_of_the_training(
    make_suite, trainings, monkeypatch: pytest.MonkeyPatch, precision: str, cache: str
) -> None:
    """With the same loss, and so in the same precision and with the same teacher."""
    losses, real = list[float](), overhead.distillation_loss

    def spy(*given: Any) -> Any:
        result = real(*given)
        losses.append(float(result.loss.detach()))
        return result

    monkeypatch.setattr(overhead, "distillation_loss", spy)
    run = trainings(
        make_suite(
            {
                "training.precision": precision,
                "training.gradient_accumulation": 1,
                "training.steps": 1,
                "teacher.cache": cache,
                "timing": {"pairs": 1, "warmup": 0},
            }
        )
    )
    measure(run)
    (step,) = run.train(run.find()).steps
    assert step.loss == pytest.approx(losses[0], rel=1e-6)


def test_each_pair_is_the_plain_step_and_the_adaptive_one(run) -> None:
    record = measure(run(2, 0))
    assert (record.divergence, record.arm) == ("reverse_kl", "adakd")
    for pair in record.pairs:
        assert [step.arm for step in pair] == ["plain", "adakd"]
        for step in pair:
            assert set(step.seconds) == set(get_args(Phase)) - {"generation", "selection"}
            assert min(step.seconds.values()) > 0
            assert step.peak_bytes is None or step.peak_bytes > 0


def test_few_rows_are_taken_again(run) -> None:
    few = run(3, 0, rows=5)
    assert len(measure(few).pairs) == 3


def test_measuring_leaves_the_models_of_the_run_alone(run) -> None:
    run = run(1, 1)
    run.train(run.find())
    before = {name: w.clone() for name, w in run.load(run.find()).state_dict().items()}
    teacher = {name: w.clone() for name, w in run.teacher.live.model.state_dict().items()}
    measure(run)
    after = run.load(run.find()).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(
        torch.equal(w, run.teacher.live.model.state_dict()[name]) for name, w in teacher.items()
    )


def test_the_key_is_of_what_is_measured(run) -> None:
    run = run(3, 2)
    adaptive, plain = (run.assignment(run.find(arm=arm)).recipe for arm in ("adakd", "plain"))
    key = timing_key(adaptive, Timing(pairs=3, warmup=2))
    assert key == timing_key(adaptive, Timing(pairs=3))
    assert key != timing_key(adaptive, Timing(pairs=4))
    assert key != timing_key(plain, Timing(pairs=3))
    assert key == measure(run).key
