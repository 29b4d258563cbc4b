"""Selection over an optimizer step: one loss and one gradient for any split of it."""

from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from adakd.data.example import IGNORED
from adakd.losses.objective import Objective
from adakd.registry import Spec
from adakd.store.records import TrainingRecord
from adakd.training.profiling import Clock
from adakd.training.step_selection import select_over_step
from adakd.training.teacher_states import LiveTeacher
from adakd.training.trainer import distillation_loss

SPLITS = ((16, 1), (4, 4), (1, 16))
"""Sequences of a micro-batch, and micro-batches of a step."""
ARM: dict[str, Any] = {"name": "adakd", "scope": "step", "focus": {"name": "fixed", "ratio": 0.5}}
ARMS: dict[str, dict[str, Any]] = {
    "idts": ARM,
    "latf": {**ARM, "focus": "latf"},
    "entropy": {**ARM, "indicator": "entropy"},
    "zscore": {**ARM, "temperature": "zscore"},
    "ctkd": {**ARM, "temperature": {"name": "ctkd_released", "start": 1.5}},
    "few": {**ARM, "focus": {"name": "fixed", "ratio": 0.02}},
}


def model(width: int, seed: int, dropout: float = 0.0) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=60,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=2,
        attention_dropout=dropout,
    )
    made = LlamaForCausalLM(config).train()
    with torch.no_grad():
        made.lm_head.weight.mul_(20)  # logits that differ from token to token
    return made


def rows(count: int = 16, longest: int = 12) -> dict[str, Tensor]:
    """Return sequences of several lengths, padded to one: one row is all prompt but its end."""
    chance, ids = Random(0), torch.randint(60, (count, longest), generator=seeded())
    labels, mask = torch.full_like(ids, IGNORED), torch.zeros_like(ids)
    for row in range(count):
        length = chance.randint(4, longest)
        mask[row, :length] = 1
        prompt = length - 1 if row == 0 else chance.randint(1, length - 2)
        labels[row, prompt:length] = ids[row, prompt:length]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def step(
    arm: dict[str, Any], size: int, dropout: float = 0.0
) -> tuple[float, list[Tensor], Objective, Clock]:
    """Return loss, gradients, objective and clock of a step over micro-batches of some size."""
    student, teacher = model(16, 1, dropout), LiveTeacher(model(32, 2).eval())
    objective, clock, whole = Objective("reverse_kl", Spec(**arm), total_steps=4), Clock(), rows()
    batches = [
        {name: value[start : start + size] for name, value in whole.items()}
        for start in range(0, len(whole["labels"]), size)
    ]
    torch.manual_seed(3)
    selection = select_over_step(student, teacher, objective, batches, clock)
    total = 0.0
    for batch in batches:
        part = selection.take()
        loss = distillation_loss(student, part.teacher, part, batch, clock).loss * part.share
        loss.backward()
        total += float(loss.detach())
        assert selection.finish() is (batch is batches[-1])
    trained = [*student.parameters(), *objective.parameters()]
    return total, [p.grad for p in trained if p.grad is not None], objective, clock


@pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS)
def test_any_split_of_a_step_gives_one_loss_and_one_gradient(arm: dict[str, Any]) -> None:
    """With few tokens selected most micro-batches have none; CTKD's temperature learns too."""
    loss, gradients, *_ = step(arm, 16)
    assert all(bool(gradient.any()) for gradient in gradients)
    for size in (8, 4, 1):
        its_loss, its_gradients, *_ = step(arm, size)
        assert its_loss == pytest.approx(loss, rel=1e-6)
        for one, other in zip(gradients, its_gradients, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6 * float(one.abs().max()))


@pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS)
def test_a_whole_step_is_what_one_micro_batch_selects(arm: dict[str, Any]) -> None:
    """The first pass adds nothing: with one micro-batch both scopes are one method."""
    loss, gradients, *_ = step(arm, 16)
    student, teacher = model(16, 1), LiveTeacher(model(32, 2).eval())
    objective = Objective("reverse_kl", Spec(**{**arm, "scope": "micro_batch"}), total_steps=4)
    assert not objective.selects_by_step
    alone = distillation_loss(student, teacher, objective, rows(), Clock()).loss
    alone.backward()
    assert float(alone.detach()) == pytest.approx(loss, rel=1e-6)
    trained = [*student.parameters(), *objective.parameters()]
    theirs = [p.grad for p in trained if p.grad is not None]
    for one, other in zip(gradients, theirs, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6 * float(one.abs().max()))


def test_both_passes_see_one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout zeroes the same entries in both, so the scores are those of the trained states."""
    seen: list[Tensor] = []
    real = Objective.scores

    def spy(self: Objective, student: Any, teacher: Any, labels: Tensor) -> Tensor:
        seen.append(real(self, student, teacher, labels))
        return seen[-1]

    def again(self: Objective, student: Any, teacher: Any, labels: Tensor, selection: Any) -> Any:
        torch.testing.assert_close(real(self, student, teacher, labels), selection.score)
        return called(self, student, teacher, labels, selection)

    called = Objective.__call__
    monkeypatch.setattr(Objective, "scores", spy)
    monkeypatch.setattr(Objective, "__call__", again)
    step(ARM, 4, dropout=0.5)
    assert len(seen) == 4
    with_dropout = [*seen]
    step(ARM, 4)
    assert not torch.equal(with_dropout[0], seen[4])  # or the test could not fail


def test_the_first_pass_is_a_phase_of_its_own_and_reads_the_teacher_once() -> None:
    class Counting(LiveTeacher):
        calls = 0

        def __call__(self, batch: Any, valid: Tensor) -> Any:
            Counting.calls += 1
            return super().__call__(batch, valid)

    clock, batch = Clock(), rows()
    objective = Objective("reverse_kl", Spec(**ARM), total_steps=4)
    teacher, student = Counting(model(32, 2).eval()), model(16, 1)
    selection = select_over_step(student, teacher, objective, [batch], clock)
    assert set(clock.take()) == {"teacher", "selection"}
    part = selection.take()
    distillation_loss(student, part.teacher, part, batch, clock)
    assert Counting.calls == 1
    assert part.teacher.width == teacher.width


# --- trainings --------------------------------------------------------------------------------


def settings(size: int, micro_batches: int, arm: Any = ARM, **more: Any) -> dict[str, Any]:
    """Return the changes of a suite with steps of 16 sequences."""
    return {
        "arms": {"selective": arm},
        "training.batch_size": size,
        "training.gradient_accumulation": micro_batches,
        "training.learning_rate": 1e-3,
        "training.steps": 2,
        **{path.replace("__", "."): value for path, value in more.items()},
    }


def agree(one: TrainingRecord, other: TrainingRecord) -> None:
    for whole, parts in zip(one.steps, other.steps, strict=True):
        assert parts.loss == pytest.approx(whole.loss, abs=1e-6)
        assert parts.grad_norm == pytest.approx(whole.grad_norm, rel=1e-4)
        assert parts.kept_ratio == whole.kept_ratio
        assert parts.temperature == pytest.approx(whole.temperature, abs=1e-5)


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return the largest difference of two models' weights."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_any_split_of_a_step_trains_one_student(make_suite, trainings) -> None:
    done = []
    for split in SPLITS:
        run = trainings(make_suite(settings(*split)), f"run{split[0]}")
        cell = run.find(arm="selective")
        done.append((run.train(cell), run.weights(cell)))
    (whole, weights), *others = done
    assert all("selection" not in step.seconds for step in whole.steps)
    for record, theirs in others:
        agree(whole, record)
        assert all("selection" in step.seconds for step in record.steps)
        assert apart(weights, theirs) < 2e-5


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_killed_training_goes_on_to_the_same_end(make_suite, trainings, precision: str) -> None:
    """Dropout included: the random state of a resumed step is restored before its first pass."""
    changes = settings(4, 2, {**ARM, "temperature": "ctkd"}, training__save_every=2)
    more = {"training.lora": {"r": 2, "dropout": 0.2}, "training.steps": 3}
    suite = make_suite({**changes, **more, "training.precision": precision})
    straight, broken = trainings(suite, "straight"), trainings(suite, "broken")
    cell = straight.find(arm="selective")
    whole = straight.train(cell)

    def kill(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken.train(cell, kill)
    seen: list[int] = []
    mended = trainings(suite, "broken").train(cell, seen.append)
    assert seen == [3]
    assert mended.steps[-1].loss == whole.steps[-1].loss
    assert apart(straight.weights(cell), broken.weights(cell)) == 0


def test_a_micro_batch_without_a_selected_token_has_no_diagnostics(make_suite, trainings) -> None:
    few = {**ARM, "focus": {"name": "fixed", "ratio": 0.001}}
    kept: list[Any] = []
    run = trainings(make_suite({**settings(1, 8, few), "diagnostics.every": 1}))
    record = run.train(run.find(arm="selective"), keep=kept.append)
    assert record.status == "done"
    assert len(kept) < 2
    assert all(step.kept_ratio > 0 for step in record.steps)


def test_the_overhead_has_the_first_pass_where_trainings_have_it(make_suite, trainings) -> None:
    for micro_batches, phases in ((1, set()), (2, {"selection"})):
        changes = {"arms": {"adakd": ARM}, "training.gradient_accumulation": micro_batches}
        run = trainings(make_suite(changes), f"run{micro_batches}")
        for plain, adaptive in run.measure().pairs:
            assert set(adaptive.seconds) - set(plain.seconds) == phases
