"""The steps of a training: columns in the file, steps for the reader."""

import json
import math

import pytest
from pydantic import ValidationError

from adakd.planning import Cell
from adakd.store.records import TrainingRecord
from adakd.store.steps import Step, Steps

CELL = Cell(role="sft", seed=1, key="cell")


def step(number: int, loss: float = 1.5, **seconds: float) -> Step:
    return Step(
        step=number, loss=loss, learning_rate=1e-4, grad_norm=0.5, kept_ratio=0.75, temperature=1.0,
        seconds=seconds,
    )  # fmt: skip


STEPS = [step(1, loss=0.1), step(2, student=0.25), step(3, student=0.5, loss=2.0)]


def test_steps_come_back_as_they_were() -> None:
    steps = Steps.model_validate(STEPS)
    assert list(steps) == STEPS
    assert (len(steps), steps[-1]) == (3, STEPS[-1])
    text = steps.model_dump_json()
    assert Steps.model_validate_json(text).model_dump_json() == text


def test_a_record_holds_columns() -> None:
    record = TrainingRecord(
        key="cell", cell=CELL, status="done", steps=Steps.model_validate(STEPS[1:])
    )
    written = json.loads(record.model_dump_json())["steps"]
    assert written["step"] == [2, 3]
    assert written["seconds"] == {"student": [0.25, 0.5]}
    assert TrainingRecord.model_validate_json(record.model_dump_json()) == record


def test_the_steps_of_schema_2_are_read() -> None:
    record = {"key": "cell", "cell": CELL, "status": "done", "schema_version": 2}
    old = record | {"steps": [json.loads(one.model_dump_json()) for one in STEPS]}
    assert list(TrainingRecord.model_validate(old).steps) == STEPS
    text = json.dumps(old | {"cell": CELL.model_dump()})
    assert list(TrainingRecord.model_validate_json(text).steps) == STEPS


def test_a_loss_that_is_no_number_and_a_phase_that_is_not_there_survive() -> None:
    steps = Steps.model_validate([step(1, math.inf), step(2, math.nan, student=1.0)])
    again = Steps.model_validate_json(steps.model_dump_json())
    assert [one.seconds for one in again] == [{}, {"student": 1.0}]
    assert again[0].loss == math.inf
    assert math.isnan(again[1].loss)


def test_no_step_is_false() -> None:
    assert not Steps()
    assert not TrainingRecord(key="cell", cell=CELL, status="done").steps


@pytest.mark.parametrize("loss", [[1.0], ["a", "b"], 5, [None, None]], ids=str)
def test_columns_that_are_no_steps_are_refused(loss: object) -> None:
    columns = Steps.model_validate([step(1), step(2)]).model_dump()
    with pytest.raises(ValidationError):
        Steps.model_validate(columns | {"loss": loss})
