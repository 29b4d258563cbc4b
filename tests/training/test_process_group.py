"""Several devices train the student of one: the same losses, weights and failures."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe, active_children
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adakd.config import Suite
from adakd.config.loading import load_suite
from adakd.errors import AdakdError
from adakd.store.records import TrainingRecord
from adakd.training import process_group
from adakd.training.process_group import Listener, SharedTraining, _Heard, train_together

SHARED: dict[str, Any] = {
    # nine micro-batches an epoch, the last one smaller: its step has one for one process alone
    "data.train.rows": 34,
    "training.batch_size": 4,
    "training.gradient_accumulation": 2,
    "training.steps": 6,
    "training.learning_rate": 1e-3,
    "training.save_every": 2,
    "teacher.sft.steps": 2,
}
RESTLESS = {
    "name": "adakd",
    "focus": {"name": "latf", "warmup": 0, "beta": 0, "eps": 1e-4, "delta": 0.3},
}
"""An arm whose ratio moves with every step's loss."""
LEARNING = {"name": "adakd", "scope": "step", "temperature": {"name": "ctkd", "start": 1.5}}
DROPOUT = {"student.config.attention_dropout": 0.1}
SUDDEN = """
from adakd import divergence
from adakd.training import ranks
calls = 0
@divergence("sudden")
def sudden(student, teacher):
    global calls
    calls += 1
    value = (student.exp() * (student - teacher)).sum(-1)
    return value * float("nan") if calls > 3 and ranks.rank() == 1 else value
"""
"""Is not a number from the second step or so on, in one of two processes."""


def policy(name: str, **settings: Any) -> dict[str, Any]:
    given = {"name": name, "max_new_tokens": 4, **settings}
    return {"divergences": [{"divergence": "reverse_kl", "policy": given}]}


VARIANTS: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({}, "plain"),
    "adaptive": ({"arms": {"arm": RESTLESS}}, "arm"),
    "by step, live": ({"arms": {"arm": LEARNING}, "teacher.cache": "off"}, "arm"),
    "dense": ({"arms": {"arm": "adakd"}, "training.lora": {"r": 2, "dropout": 0,
               "target_modules": ["lm_head"]}, "student.config.tie_word_embeddings": False}, "arm"),
    "bridge": ({"arms": {"arm": "adakd"}, "bridge": "overlap", "student.vocabulary": 300}, "arm"),
    "own responses": ({**policy("on_policy", lmbda=0.5), "objective.cross_entropy": 0.5}, "plain"),
    "buffer": (policy("replay", threshold=0.9, held_out=4, capacity=6), "plain"),
}  # fmt: skip
"""Changes of a suite, and the arm to train."""
SHARD = {"training.devices": 2, "training.shard": True}
DEEPER: dict[str, tuple[dict[str, Any], str]] = {
    "deep": ({"student.config.num_hidden_layers": 4, "student.config.tie_word_embeddings": False,
              "training.gradient_checkpointing": True}, "plain"),
    "adapters": ({"training.lora": {"r": 2, "dropout": 0}}, "plain"),
    "bf16": ({"training.precision": "bf16", "student.config.num_hidden_layers": 2}, "plain"),
}  # fmt: skip
SHARDED = {
    name: ({**changes, **SHARD}, arm)
    for name, (changes, arm) in {**VARIANTS, **DEEPER}.items()
    if name not in ("plain", "adaptive")  # as the others, but for what the others have too
}


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return the largest difference of two models' weights."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.fixture
def in_group(tmp_path: Path) -> Callable[..., list[list[Any]]]:
    """Do trainings in two processes; return records and weights of each training by process."""

    def run(trainings: list[Any]) -> list[list[Any]]:
        folder = tmp_path / "group"
        folder.mkdir()
        (folder / "work.json").write_text(json.dumps({"devices": 2, "trainings": trainings}))
        script = Path(__file__).with_name("group_member.py")
        members = [
            subprocess.Popen([sys.executable, str(script), str(number), str(folder)])
            for number in range(2)
        ]
        assert [member.wait(600) for member in members] == [0, 0]
        by_process = [torch.load(folder / f"{number}.pt") for number in range(2)]
        return [list(of) for of in zip(*by_process, strict=True)]

    return run


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
def test_two_processes_train_the_student_of_one(
    trainings, suite_file, tmp_path: Path, in_group
) -> None:
    """One group does all: kernels, caches, policies, resuming, and a loss that is no number."""
    (tmp_path / "sudden.py").write_text(SUDDEN)
    cases = {**VARIANTS, **{f"{name}, sharded": SHARDED[name] for name in SHARDED}}
    for name in ("straight", "broken"):
        cases[name] = ({**DROPOUT, "arms": {"arm": RESTLESS}}, "arm")
        cases[f"{name}, sharded"] = ({**DROPOUT, **SHARD, "arms": {"arm": RESTLESS}}, "arm")
    bad: dict[str, Any] = {"plugins": ["./sudden.py"], "divergences": ["sudden"], "arms": {}}
    cases |= {"no number": (bad, "plain"), "no number, sharded": ({**bad, **SHARD}, "plain")}
    work, alone = list[Any](), dict[str, tuple[TrainingRecord, dict[str, Tensor]]]()
    for place, (name, (changes, arm)) in enumerate(cases.items()):
        file = suite_file({**SHARED, **changes}, f"suite{place}")
        together = trainings(load_suite(str(file)), f"together{place}")
        cell = next(c for c in together.distilled() if c.arm == arm)
        together.teacher.outputs(together.assignment(cell))  # stored before, as in a run
        asked = [str(file), str(together.folder), arm]
        work += [[*asked, 5], [*asked, None]] if "broken" in name else [[*asked, None]]
        twin = name.removesuffix(", sharded")
        if twin not in alone and (name in VARIANTS or twin in SHARDED):
            one = trainings(load_suite(str(file)), f"alone{place}")
            alone[twin] = one.train(cell), one.weights(cell)
    found = in_group(work)
    names = [name for name in cases for _ in range(1 + ("broken" in name))]
    done = {name: of for name, of in zip(names, found, strict=True) if of[0] is not None}
    assert done.keys() == cases.keys()
    for name, members in done.items():
        assert apart(*(of[1] for of in members)) == 0, name
        held = [of[2] for of in members]
        expected = 0.5 if "sharded" in name else 1
        if "no number" not in name:
            assert held == [pytest.approx([expected] * 2, abs=0.01)] * 2, name
    for name in cases.keys() & {name for twin in alone for name in (twin, f"{twin}, sharded")}:
        record, weights = alone[name.removesuffix(", sharded")]
        shared = TrainingRecord.model_validate_json(done[name][0][0])
        assert (shared.key, shared.rows) == (record.key, record.rows)
        assert (shared.parameters, shared.trainable) == (record.parameters, record.trainable)
        exact = 1 if "bf16" not in name else 1e2
        for ours, theirs in zip(record.steps, shared.steps, strict=True):
            assert theirs.loss == pytest.approx(ours.loss, abs=1e-6 * exact), name
            assert theirs.kept_ratio == pytest.approx(ours.kept_ratio, abs=1e-9), name
            assert theirs.temperature == pytest.approx(ours.temperature, abs=1e-5 * exact), name
            assert theirs.grad_norm == pytest.approx(ours.grad_norm, rel=1e-4 * exact), name
        adapted = "training.lora" in cases[name][0]  # and its weights are merged where it is alone
        assert adapted or apart(weights, done[name][0][1]) < 2e-5 * exact, name
    assert done["deep, sharded"][0][3] == 1  # layers that are whole while one of four computes
    for kind in ("", ", sharded"):
        straight, broken = (done[name + kind][0] for name in ("straight", "broken"))
        assert apart(straight[1], broken[1]) == 0
        failed = [TrainingRecord.model_validate_json(of[0]) for of in done["no number" + kind]]
        reasons = {str(record.reason) for record in failed}
        assert len(reasons) == 1
        assert "the loss is not finite at step" in reasons.pop()
        assert {record.status for record in failed} == {"failed"}
    ratios = [step.kept_ratio for step in alone["adaptive"][0].steps]
    assert len({round(ratio, 1) for ratio in ratios}) >= 3  # or the state would not matter


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
def test_a_killed_process_ends_all_and_the_next_start_goes_on(
    make_suite, trainings, shard: bool
) -> None:
    """By one process: the number of devices is no matter of the result, nor are shards."""
    devices = {"training.devices": 2, "training.shard": shard}
    suite: Suite = make_suite({**SHARED, "arms": {"arm": RESTLESS}, **devices})
    straight, run = trainings(suite, "straight"), trainings(suite, "run")
    cell = run.find(arm="arm")
    whole = straight.train(cell)
    run.teacher.outputs(run.assignment(cell))  # stores its states
    one = next(one for one in run.plan.assignments if one.cell == cell)
    shared = SharedTraining(run.plan, run.folder, one, run.context.saved)
    seen: list[int] = []

    def kill(done: int) -> None:
        seen.append(done)
        if done == 3:
            os.kill(max(child.pid or 0 for child in active_children()), signal.SIGKILL)

    with pytest.raises(AdakdError, match=r"2 processes .* was killed \(SIGKILL\).*checkpoint"):
        train_together(shared, Listener(on_step=kill))
    assert seen[:3] == [1, 2, 3]
    assert not active_children()
    rest: list[int] = []
    mended = run.train(cell, rest.append)
    assert rest[0] in (3, 5)  # after a checkpoint
    for ours, theirs in zip(whole.steps, mended.steps, strict=True):
        assert theirs.loss == pytest.approx(ours.loss, abs=1e-6)
    assert apart(straight.weights(cell), run.weights(cell)) < 2e-5


# --- the process that asks ------------------------------------------------------------------


class Process:
    """One that has ended, or not."""

    def __init__(self, exitcode: int | None = None) -> None:
        self.exitcode = exitcode

    def join(self, timeout: float) -> None:
        """Do nothing."""


Asking = tuple[_Heard, list[Connection]]


@pytest.fixture
def asking(make_suite, trainings) -> Callable[..., Asking]:
    """Return what a process that asks has heard, and the others' ends of its channels."""

    def make(*exitcodes: int | None) -> Asking:
        run = trainings(make_suite({"training.gradient_accumulation": 2, "training.devices": 2}))
        one = run.assignment(run.find())
        ours, theirs = zip(*(Pipe() for _ in exitcodes), strict=True)
        shared = SharedTraining(run.plan, run.folder, one, {})
        processes: list[Any] = [Process(code) for code in exitcodes]
        return _Heard(shared, processes, ours), list(theirs)

    return make


def test_what_the_first_process_tells_is_passed_on_and_awaited(asking) -> None:
    heard, (first, second) = asking(None, None)
    got: list[tuple[str, Any]] = []
    listener = Listener(*(lambda value, of=of: got.append((of, value)) for of in Listener._fields))
    first.send(("on_step", 1))
    first.send(("keep", "a diagnosis"))
    second.send(("done", None))
    for _ in range(2):
        heard.pass_on(listener)
        heard.check()
    assert got == [("on_step", 1), ("keep", "a diagnosis")]
    assert first.poll()  # told that it is kept
    assert heard.record is None
    record = TrainingRecord.model_construct(key="it")
    first.send(("done", record))
    heard.pass_on(listener)
    assert heard.record == record


def test_an_error_of_the_user_has_the_same_words(asking) -> None:
    heard, (_, second) = asking(None, None)
    second.send(("error", "model 'x': no such folder"))
    with pytest.raises(AdakdError, match=r"^model 'x': no such folder$"):
        heard.pass_on(Listener())


def test_the_cause_is_told_and_not_what_followed_from_it(asking, monkeypatch) -> None:
    """A process that is killed closes connections, over which the others fail first."""
    monkeypatch.setattr(process_group, "GRACE", 0.0)
    heard, (first, second) = asking(1, -9)
    first.send(("crash", "Connection closed by peer"))
    second.close()
    for _ in range(2):
        heard.pass_on(Listener())
    with pytest.raises(AdakdError, match=r"killed \(SIGKILL\)"):
        heard.check()
    heard, (first, second) = asking(1, None)
    first.send(("crash", "Traceback: CUDA out of memory"))
    heard.pass_on(Listener())
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        heard.check()
    heard, (first, second) = asking(1, 1)
    first.close()
    second.close()
    heard.pass_on(Listener())
    with pytest.raises(AdakdError, match="__main__"):
        heard.check()


def test_as_long_as_all_are_at_work_nothing_is_wrong(asking) -> None:
    heard, _ = asking(None, None)
    heard.check()


def test_fewer_gpus_than_devices_are_an_error_where_the_unit_begins(asking, monkeypatch) -> None:
    heard, _ = asking(None, None)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(AdakdError, match=r"training\.devices: 2, and only 1"):
        train_together(heard.shared, Listener())
