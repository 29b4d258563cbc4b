"""Times of stages: by stated speeds, and by the records of a run."""

from dataclasses import replace
from pathlib import Path

import pytest

from adakd.errors import AdakdError
from adakd.execution.needs import ANSWERS, SFT, STUDENTS, Need
from adakd.execution.speeds import Fallback, Rates, Speed, Work, stated
from adakd.planning import plan
from adakd.planning.units import units
from adakd.store import Store
from adakd.store.records import ScoreRecord, TrainingRecord

READS = Need("reads", 1, "sequence", tokens=1e6, operations=6e12)
WRITES = Need("writes", 1, "answer", tokens=9_000, operations=1e9, at_once=16)
ANSWERED = replace(WRITES, waiting=True)


def test_the_speed_of_batches_rises_with_their_rows_and_that_of_an_engine_does_not() -> None:
    batches, engine = Speed(3e12, 10.0), Speed(3e12, 10.0, engine=300.0)
    assert batches.seconds(READS) == engine.seconds(READS) == 2
    assert batches.seconds(WRITES) == batches.seconds(ANSWERED) == 9_000 / 160
    assert engine.seconds(ANSWERED) == 30
    assert engine.seconds(WRITES) == 9_000 / 160  # all are decoded at once
    assert batches.seconds(Need("far", None, "answer")) is None


def test_a_stated_speed_is_that_of_the_suites_batch() -> None:
    speed = stated("900,300", at_once=32)
    assert speed == Speed(300e12, 900 / 32)


@pytest.mark.parametrize("text", ["900", "900,300,1", "a,b", "0,300", "900,-1", "nan,1", "inf,1"])
def test_what_is_no_speed_is_refused(text: str) -> None:
    with pytest.raises(AdakdError, match=r"--speed: .*TOKENS_PER_S,TFLOPS"):
        stated(text, 32)


def test_a_finished_run_tells_its_own_time(finished_run: Path) -> None:
    store = Store(finished_run)
    found = Rates(store).stages(plan(store.suite()))
    trained = [record for record in store.of(TrainingRecord) if record.steps]
    by_role = {
        SFT: sum(one.seconds for one in trained if one.cell.role == "teacher"),
        STUDENTS: sum(one.seconds for one in trained if one.cell.role == "distilled"),
    }
    assert found[SFT] == pytest.approx(by_role[SFT])
    assert (found[STUDENTS] or 0) >= by_role[STUDENTS] * 0.999
    answers = {one.answers: one.seconds for one in store.of(ScoreRecord) if one.sort == "answers"}
    assert found[ANSWERS] == pytest.approx(sum(answers.values()))


def test_an_empty_folder_tells_nothing(tmp_path: Path, finished_run: Path) -> None:
    planned = plan(Store(finished_run).suite())
    assert not any(Rates(Store(tmp_path)).stages(planned).values())


class Known:
    """A pace that is known for some roles and tasks."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds

    def step(self, role: str) -> float | None:
        return self.seconds.get(role)

    score = step


def test_work_is_the_sum_of_its_parts_and_unknown_if_one_is() -> None:
    work = Work()
    assert work.seconds(Known()) == 0
    work.train("distilled", 10)
    work.answers["puzzles"] += 3
    assert work.seconds(Known(distilled=2.0, puzzles=5.0)) == 35
    assert work.seconds(Known(distilled=2.0)) is None
    work.train("distilled", 10, -1)
    assert work.seconds(Known(puzzles=5.0)) == 15
    work.train("sft", None)
    assert work.seconds(Known(puzzles=5.0, sft=1.0)) is None


def test_a_pace_that_is_missing_comes_from_the_second_source() -> None:
    both = Fallback(Known(distilled=2.0, puzzles=5.0), Known(distilled=9.0, sft=1.0, choice=4.0))
    assert [both.step(role) for role in ("distilled", "sft", "teacher")] == [2, 1, None]
    assert [both.score(task) for task in ("puzzles", "choice", "far")] == [5, 4, None]


def test_a_new_role_takes_as_long_as_the_slowest_other_student(finished_run: Path) -> None:
    rates = Rates(Store(finished_run))
    roles = ("sft", "distilled", "longer")
    known = [seconds for role in roles if (seconds := rates.step(role)) is not None]
    assert rates.step("neutral") == max(known)
    assert rates.step("teacher") not in (None, rates.step("neutral"))
    assert rates.score("unheard") is None


def test_steps_of_students_tell_nothing_of_the_teacher(finished_run: Path) -> None:
    store = Store(finished_run)
    every = units(plan(store.suite()))
    rates = Rates(store, recorded=False)
    rates.note(next(unit for unit in every if unit.title.startswith("train reverse_kl")))
    assert rates.step("sft") is not None
    assert rates.step("teacher") is None
