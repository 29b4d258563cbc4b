"""A run with ``controls.check``: the neutral arm is the plain arm, bit by bit."""

from pathlib import Path

import pytest

import adakd
from adakd.commands.judge import subject_of
from adakd.config.loading import load_suite
from adakd.reporting.index import index
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.controls import controls
from adakd.store import Store
from adakd.store.records import ScoreRecord, TrainingRecord

SUITE = {
    "seeds": [1, 2],
    "controls.check": True,
    "training.learning_rate": 0.2,  # so that a difference between the arms would show
    "training.gradient_accumulation": 2,  # several micro-batches of their own lengths
    "timing.pairs": 0,
    "judges": [],
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, write_suite) -> Store:
    folder = tmp_path_factory.mktemp("checked")
    adakd.run(load_suite(str(write_suite(folder, SUITE))), folder / "run")
    return Store(folder / "run")


def test_the_neutral_arm_is_identical_to_plain(checked: Store) -> None:
    found = controls(Context.of(checked))
    assert found is not None
    assert found.neutral.state == "identical"
    assert found.neutral.compared == (
        "the losses and gradient norms of 4 steps",
        "the weights",
        "the scores of 12 items",
    )
    records = {str(r.cell): r for r in checked.of(TrainingRecord)}
    neutral, plain = records["reverse_kl, neutral adakd"], records["reverse_kl, seed 1"]
    assert neutral.files == plain.files != records["reverse_kl + adakd, seed 1"].files
    assert [step.loss for step in neutral.steps] == [step.loss for step in plain.steps]


def test_both_other_controls_have_a_result(checked: Store) -> None:
    found = controls(Context.of(checked))
    assert found is not None
    assert found.positive.difference is not None
    assert found.again is not None
    assert found.again.difference is not None


def test_no_table_or_judge_sees_the_neutral_student(checked: Store) -> None:
    order = index(checked)
    assert "neutral" not in {method.role for method in order.methods}
    assert "neutral" not in {method.role for method, _, _ in order.scores}
    assert order.gaps() == ()
    assert order.superseded == 0
    assert "neutral" in {score.cell.role for score in checked.of(ScoreRecord)}
    for against in ("plain", "all"):
        subject = subject_of(Path(checked.folder), against)
        assert "neutral" not in {score.cell.role for score in subject.scores}
