"""What a plan takes, beside the records of a run that took it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adakd.config.loading import load_suite
from adakd.execution.inputs import check_inputs
from adakd.execution.needs import ANSWERS, OPTIONS, OWN, SFT, STATES, STUDENTS, Need, needs
from adakd.execution.speeds import H100, H100_ENGINE
from adakd.planning import plan
from adakd.store import Store
from adakd.store.records import ScoreRecord, TeacherStatesRecord, TrainingRecord


def by_stage(found: tuple[Need, ...]) -> dict[str, Need]:
    return {need.stage: need for need in found}


def test_counts_are_those_of_a_run(finished_run: Path) -> None:
    """The goal is a fifth; what a plan can know, it knows exactly."""
    store = Store(finished_run)
    planned = plan(store.suite())
    found = by_stage(needs(planned))
    suite = planned.suite
    records = {record.key: record for record in store.of(TrainingRecord)}
    trained = {
        role: sum(
            len(records[one.cell.key].steps) * one.training.sequences
            for one in planned.assignments
            if one.training and (one.cell.role == "teacher") == (role == "teacher")
        )
        for role in ("teacher", "student")
    }
    assert found[SFT].work == trained["teacher"]
    assert found[STUDENTS].work == trained["student"]
    answers = {one.answers: one.n for one in store.each(ScoreRecord) if one.sort == "answers"}
    assert found[ANSWERS].work == sum(answers.values())
    options = [one.n for one in store.each(ScoreRecord) if one.sort == "choice"]
    (choice,) = suite.evaluation.choices
    assert found[OPTIONS].work == choice.choices * sum(options)
    states = store.last(TeacherStatesRecord)
    assert states is not None
    assert found[STATES].work == pytest.approx(states.sequences, rel=0.2)
    assert found[STATES].disk == pytest.approx(states.size, rel=0.2)
    folders = [finished_run / "cells" / one.cell.key for one in planned.assignments]
    weights = [file for of in folders for file in of.glob("model/*.safetensors")]
    saved = (found[SFT].disk or 0) + (found[STUDENTS].disk or 0)
    assert saved == pytest.approx(sum(file.stat().st_size for file in weights), rel=0.2)


def test_the_papers_table_takes_many_hours_most_of_them_in_decoding() -> None:
    found = needs(plan(load_suite("paper/table1-qwen2")))
    hours, with_engine = (
        [(speed.seconds(need) or 0.0) / 3600 for need in found] for speed in (H100, H100_ENGINE)
    )
    assert 120 < sum(hours) < 190
    place = [need.stage for need in found].index(ANSWERS)
    assert with_engine[place] < hours[place] / 5
    assert [*with_engine[:place], *with_engine[place + 1 :]] == [
        *hours[:place],
        *hours[place + 1 :],
    ]
    decoding = [hour for hour, need in zip(hours, found, strict=True) if need.at_once]
    assert sum(decoding) > 0.9 * sum(hours)
    assert by_stage(found)[ANSWERS].work == 57 * 12_516


def test_what_is_not_known_is_not_told(make_suite: Callable[..., Any]) -> None:
    hub = {"kind": "hub", "id": "owner/rows"}
    suite = make_suite(
        {"data.train": hub, "evaluation.sets": {"far": hub}, "evaluation.choices": []}
    )
    found = by_stage(needs(plan(suite)))
    assert found[STUDENTS].work is not None  # steps are given
    assert (found[STUDENTS].tokens, found[STUDENTS].operations) == (None, None)
    assert (found[ANSWERS].work, found[ANSWERS].disk) == (None, None)
    assert H100.seconds(found[ANSWERS]) is None


def test_adapters_take_less_memory_and_disk_and_two_thirds_of_the_operations(
    make_suite: Callable[..., Any],
) -> None:
    full, lora = (
        by_stage(needs(plan(make_suite({"training.lora": one}))))[STUDENTS]
        for one in (None, {"r": 2, "target_modules": ["q_proj"]})
    )
    assert lora.operations == pytest.approx(2 / 3 * (full.operations or 0))
    assert (lora.memory or 0) < (full.memory or 0) / 2
    assert (lora.disk or 0) < (full.disk or 0) / 4


def test_a_live_teacher_reads_every_batch(make_suite: Callable[..., Any]) -> None:
    cached, live = (
        by_stage(needs(plan(make_suite({"teacher.cache": c})))) for c in ("fp16", "off")
    )
    assert STATES not in live
    assert (live[STUDENTS].operations or 0) > (cached[STUDENTS].operations or 0)
    assert (live[STUDENTS].memory or 0) > (cached[STUDENTS].memory or 0)


def test_a_policy_that_writes_takes_decoding(make_suite: Callable[..., Any]) -> None:
    own = {"divergence": "reverse_kl", "policy": {"name": "on_policy", "lmbda": 0.5}}
    planned = plan(make_suite({"divergences": [own]}))
    found = by_stage(needs(planned))[OWN]
    writing = [one for one in planned.assignments if one.generates]
    sequences = sum(one.training.steps * one.training.sequences for one in writing if one.training)
    assert found.work == pytest.approx(sequences / 2)
    assert found.at_once == planned.suite.training.batch_size
    assert not found.waiting
    several = make_suite(
        {"divergences": [own], "training.gradient_accumulation": 4, "evaluation.batch_size": 64}
    )
    one, most = several.training.batch_size, 8
    # Of four micro-batches two are written on average, and in one of 16 steps none is.
    assert by_stage(needs(plan(several)))[OWN].at_once == pytest.approx(one * 2 / (15 / 16))
    capped = several.model_copy(
        update={"evaluation": several.evaluation.model_copy(update={"batch_size": most})}
    )
    assert by_stage(needs(plan(capped)))[OWN].at_once == min(most, 2 * one / (15 / 16))


def test_the_teachers_responses_wait_as_answers_do(make_suite: Callable[..., Any]) -> None:
    row = {"divergence": "reverse_kl", "policy": "sequence_level"}
    suite = make_suite({"divergences": [row]})
    found = by_stage(needs(plan(suite)))["teacher responses"]
    assert (found.at_once, found.waiting) == (suite.evaluation.batch_size, True)


def test_judges_are_asked_in_both_orders(make_suite: Callable[..., Any]) -> None:
    suite = make_suite({"judges": ["rule"]})
    planned = plan(suite)
    found = by_stage(needs(planned, check_inputs(suite)))["judge rule"]
    adaptive = sum(cell.arm != "plain" for cell in planned.cells)
    items = by_stage(needs(planned))[ANSWERS].work
    assert items is not None
    assert found.work is not None
    assert found.work >= 2 * adaptive * items / len(planned.cells)
