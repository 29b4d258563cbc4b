"""A start that finds everything done: nothing is computed, and none of it is recorded."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import adakd
from adakd.config import Timing
from adakd.execution.finished import is_finished
from adakd.planning import plan
from adakd.store import Store
from adakd.store.records import ExampleRecord, RunRecord, VerdictRecord


@pytest.fixture
def again(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "again"))


def forget(run: Path, kind: str) -> None:
    file = run / "results.jsonl"
    kept = [line for line in file.read_text().splitlines() if f'"kind":"{kind}"' not in line]
    file.write_text("".join(line + "\n" for line in kept))


def test_all_that_was_planned_is_there(finished_run: Path) -> None:
    store = Store(finished_run)
    assert is_finished(plan(store.suite()), store)


@pytest.mark.parametrize(
    "changes",
    [{"seeds": (1, 2)}, {"description": "other words"}, {"timing": Timing(pairs=1)}],
    ids=["seed", "description", "timing"],
)
def test_another_suite_is_not_finished(finished_run: Path, changes: dict[str, Any]) -> None:
    store = Store(finished_run)
    other = store.suite().model_copy(update=changes)
    assert not is_finished(plan(other), store)


@pytest.mark.parametrize("kind", ["run", "training", "score"])
def test_a_record_that_is_missing_has_to_be_made(again: Path, kind: str) -> None:
    planned = plan(Store(again).suite())
    forget(again, kind)
    assert not is_finished(planned, Store(again))


def test_texts_and_page_are_made_again_without_a_model(
    again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, before = Store(again).suite(), Store(again).of(ExampleRecord)
    forget(again, "example")
    (again / "report.html").unlink()
    shutil.rmtree(again / "cells")
    monkeypatch.setattr("adakd.execution.flow.run_plan", None)
    assert adakd.run(suite, again).is_file()
    assert Store(again).of(ExampleRecord) == before
    assert len(Store(again).of(RunRecord)) == 1


def test_a_judge_that_is_added_is_asked(again: Path) -> None:
    suite = Store(again).suite().model_copy(update={"judges": ("rule",)})
    adakd.run(suite, again)
    assert Store(again).of(VerdictRecord)
    assert len(Store(again).of(RunRecord)) == 2
    adakd.run(suite, again)
    assert len(Store(again).of(RunRecord)) == 2
