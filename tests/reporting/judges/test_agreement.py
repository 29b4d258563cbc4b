"""Agreement between judges, and with the metric."""

import pytest

from adakd.reporting.judges.agreement import agreement, agreements
from adakd.reporting.sections.base import Context
from adakd.store.records import RunRecord, ScoreRecord

METRIC = "ROUGE-L"


def verdicts(store):
    return Context.of(store).verdicts


def test_a_judge_agrees_with_one_that_says_the_same(ask, mind):
    fair, same = mind(name="a", ties=0.0, skill=1.0), mind(name="b", ties=0.0, skill=1.0)
    against = mind(name="c", ties=0.0, skill=0.0)
    found = verdicts(ask(fair, same, against))
    result = agreements(found, METRIC)
    assert result.judges == (fair.key, same.key, against.key, METRIC)
    twin = result.of(fair.key, same.key)
    assert (twin.kappa, twin.same) == (pytest.approx(1), 1)
    contrary = result.of(against.key, fair.key)
    assert contrary.kappa < -0.5
    assert result.of(fair.key, METRIC).kappa == pytest.approx(1)
    assert -0.5 < result.alpha < 0.5


def test_what_is_not_decided_is_no_agreement(ask, mind):
    found = verdicts(ask(mind(name="a", fails=1.0), mind(name="b")))
    result = agreements(found, METRIC)
    assert len(result.judges) == 2
    assert (result.alpha, result.units) == (None, 0)


def test_flips_and_ties_are_both_no_preference(ask, mind):
    flips, ties = mind(name="a", first=1.0), mind(name="b", ties=1.0)
    found = verdicts(ask(flips, ties))
    pair = agreements(found, METRIC).of(flips.key, ties.key)
    assert pair.same == 1
    assert pair.kappa is None


def test_a_jury_is_no_judge_of_its_own(ask, mind, sit):
    one, other = mind(name="a"), mind(name="b")
    found = verdicts(ask(one, other, records=[sit("jury", one, other)]))
    assert "jury@jury" not in agreements(found, METRIC).judges


def test_without_a_judge_there_is_no_agreement(mini, made_store):
    assert agreement(Context.of(made_store(judge=False))) is None
    assert agreement(mini).judges[-1] == METRIC


def test_the_metric_prefers_the_better_value_whatever_its_direction(ask, mind):
    one = mind(name="a")
    store = ask(one, failed=None)
    (run,) = store.of(RunRecord)
    up = verdicts(store)
    lower = {"higher_is_better": False}
    tasks = tuple(task.model_copy(update=lower) for task in run.tasks)
    scores = [score.model_copy(update=lower) for score in store.of(ScoreRecord)]
    store.add(run.model_copy(update={"tasks": tasks}), *scores)
    down = verdicts(store)
    swapped = {"win": "loss", "loss": "win"}
    for before, after in zip(up.comparisons[one.key], down.comparisons[one.key], strict=True):
        preferred = before.preferred_by_metric
        assert after.preferred_by_metric == swapped.get(preferred, preferred)
    assert {one.preferred_by_metric for one in down.comparisons[one.key]} >= {"win", "loss"}
