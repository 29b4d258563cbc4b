"""What is left of a run: counts, and a time by the speed of what is done."""

from pathlib import Path

import pytest

from adakd.execution.ahead import Ahead
from adakd.planning import Plan, plan
from adakd.planning.units import Unit, units
from adakd.store import Store
from adakd.store.records import ScoreRecord, TrainingRecord


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def done(finished_run: Path) -> tuple[Plan, Store]:
    store = Store(finished_run)
    return plan(store.suite()), store


def seconds_of(unit: Unit, store: Store) -> float:
    """The seconds of a unit as its records have them."""
    if unit.kind in ("teacher", "student"):
        record = store.get(TrainingRecord, unit.key)
        return record.seconds if record else 0.0
    found = (store.get(ScoreRecord, job.key) for job in unit.jobs)
    return sum(one.seconds for one in found if one)


def test_no_time_is_told_before_each_kind_of_work_was_done_once(done) -> None:
    planned, store = done
    every, clock = units(planned), Clock()
    ahead, told = Ahead(planned, store, every, clock), []
    assert ahead.seconds is None
    for unit in every:
        clock.now += 1
        ahead.finish(unit)
        told.append(ahead.seconds)
    first = 1 + max(
        next(n for n, unit in enumerate(every) if unit.kind == "score"),
        next(
            n
            for n, unit in enumerate(every)
            if unit.kind == "student" and unit.assignment and unit.assignment.training
        ),
    )
    assert 1 < first < len(every) / 2  # a role that is new then counts as the others
    assert [seconds is None for seconds in told] == [n + 1 < first for n in range(len(every))]
    assert (told[-1], str(ahead)) == (0, "")


def test_one_kind_of_work_left_is_estimated_exactly(done) -> None:
    planned, store = done
    scorings, clock = [unit for unit in units(planned) if unit.kind == "score"], Clock()
    ahead = Ahead(planned, store, scorings, clock)
    first, second = scorings[:2]
    clock.now += 7.0
    ahead.finish(first)
    # Each scoring asks the same tasks, so each takes what the first took on the clock.
    assert ahead.seconds == pytest.approx(7.0 * (len(scorings) - 1))
    assert str(ahead).startswith(f"left: {len(scorings) - 1} scorings of {len(scorings)}; about ")
    clock.now += 7.0
    ahead.finish(second)
    assert ahead.seconds == pytest.approx(7.0 * (len(scorings) - 2))


def test_workers_side_by_side_share_what_is_left(done) -> None:
    planned, store = done
    scorings, clock = [unit for unit in units(planned) if unit.kind == "score"], Clock()
    ahead = Ahead(planned, store, scorings, clock)
    spent = sum(seconds_of(unit, store) for unit in scorings[:2])
    clock.now += spent / 2  # both at once
    for unit in scorings[:2]:
        ahead.finish(unit)
    assert ahead.seconds == pytest.approx(spent / 2 / 2 * (len(scorings) - 2))
