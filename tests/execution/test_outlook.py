"""The first line of a run: what is left to do, and its time at the speed that the records tell."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adakd.execution.outlook import outlook
from adakd.execution.speeds import Rates, Work
from adakd.planning import Plan, plan
from adakd.planning.quantities import roughly
from adakd.reporting.formatting import counted
from adakd.store import Store
from adakd.store.records import ScoreRecord, TrainingRecord


@pytest.fixture
def done(finished_run: Path) -> tuple[Plan, Store]:
    store = Store(finished_run)
    return plan(store.suite()), store


def trained(planned: Plan) -> list[Any]:
    return [one for one in planned.assignments if one.training is not None]


def test_a_new_run_counts_its_steps_and_items_and_guesses_no_time(
    make_suite: Callable[..., Any], tmp_path: Path
) -> None:
    suite = make_suite({"evaluation.choices": [{"set": "puzzles", "limit": 2}]})
    planned = plan(suite)
    line = outlook(planned, Store(tmp_path / "new"))
    steps = sum(one.training.steps for one in trained(planned))
    (source,) = suite.evaluation.sets.values()
    items = len(planned.cells) * (source.rows + 2)
    assert line == (
        f"{suite.name}: trains {len(trained(planned))} models in {counted(steps, 'step')} "
        f"and scores {counted(items, 'item')}; how long that takes is told once one of each kind "
        "is done"
    )


def test_steps_and_items_that_only_the_hub_knows_are_not_told(
    make_suite: Callable[..., Any], tmp_path: Path
) -> None:
    hub = {"kind": "hub", "id": "owner/rows"}
    suite = make_suite(
        {
            "data.train": hub,
            "training.steps": None,
            "training.epochs": 1,
            "evaluation.sets": {"far": hub},
            "evaluation.choices": [],
        }
    )
    line = outlook(plan(suite), Store(tmp_path / "new"))
    assert " models and scores 1 set of items; how long" in line


def test_a_finished_run_has_nothing_left(done: tuple[Plan, Store]) -> None:
    planned, store = done
    assert outlook(planned, store).endswith(
        "all is trained and scored; the report is written again"
    )


def test_one_more_seed_takes_as_long_as_those_before(done: tuple[Plan, Store]) -> None:
    planned, store = done
    suite = planned.suite
    more = plan(suite.model_copy(update={"seeds": (*suite.seeds, 99)}))
    new = [cell.key for cell in more.cells if cell.seed == 99]
    line = outlook(more, store)
    assert line.startswith(f"{suite.name}: trains {len(new)} models in ")
    assert "; the rest is done; about " in line
    rates = Rates(store)
    added = [one for one in more.assignments if one.cell.key in new]
    work = Work.of(more, added, [job for job in more.jobs if job.cell.key in new])
    told = work.seconds(rates)
    roles = {cell.role for cell in more.cells if cell.seed == 99}
    before = [one for one in store.of(TrainingRecord) if one.cell.role in roles]
    scores = [one for one in store.of(ScoreRecord)]
    by_seed = sum(one.seconds for one in before) / len(suite.seeds)
    means = {
        task: [one.seconds for one in scores if one.task == task]
        for task in {s.task for s in scores}
    }
    by_seed += len(new) * sum(sum(of) / len(of) for of in means.values())
    assert told == pytest.approx(by_seed, rel=1e-6)


@dataclass
class Guess:
    """A pace of one second for everything, and how often it was asked for."""

    calls: int = 0

    def __call__(self) -> "Guess":
        self.calls += 1
        return self

    def step(self, role: str) -> float | None:
        return 1.0

    def score(self, task: str) -> float | None:
        return 1.0


def test_a_new_run_gets_a_guess(make_suite: Callable[..., Any], tmp_path: Path) -> None:
    planned, guess = plan(make_suite()), Guess()
    line = outlook(planned, Store(tmp_path / "new"), guess)
    steps = sum(one.training.steps for one in trained(planned))
    models = len({job.answers for job in planned.jobs})
    assert line.endswith(f"; roughly {roughly(steps + models)}, as this machine's speed lets guess")
    assert guess.calls == 1


def test_what_the_records_tell_is_not_guessed(done: tuple[Plan, Store]) -> None:
    planned, store = done
    suite, guess = planned.suite, Guess()
    more = plan(suite.model_copy(update={"seeds": (*suite.seeds, 99)}))
    assert outlook(more, store, guess) == outlook(more, store)
    assert outlook(planned, store, guess) == outlook(planned, store)
    assert guess.calls == 0
