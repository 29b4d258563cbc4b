"""Agreement between judges, with ROUGE-L, and the ranking of all methods."""

import pytest

from adakd.reporting.index import index
from adakd.reporting.judges.agreement import agreements
from adakd.reporting.judges.standings import standing
from adakd.reporting.judges.verdicts import verdicts
from adakd.store.records import RunRecord, ScoreRecord

METRIC = "ROUGE-L"


def said(store):
    return verdicts(store, index(store))


def test_a_judge_agrees_with_one_that_says_the_same(ask, mind):
    fair, same = mind(name="a", ties=0.0, skill=1.0), mind(name="b", ties=0.0, skill=1.0)
    against = mind(name="c", ties=0.0, skill=0.0)
    found = said(ask(fair, same, against))
    result = agreements(found.judges, found.pairs, METRIC)
    assert result.judges == (fair.key, same.key, against.key, METRIC)
    twin = result.of(fair.key, same.key)
    assert (twin.kappa, twin.same) == (pytest.approx(1), 1)
    contrary = result.of(against.key, fair.key)
    assert contrary.kappa < -0.5
    assert result.of(fair.key, METRIC).kappa == pytest.approx(1)
    assert -0.5 < result.alpha < 0.5


def test_what_is_not_decided_is_no_agreement(ask, mind):
    found = said(ask(mind(name="a", fails=1.0), mind(name="b")))
    result = agreements(found.judges, found.pairs, METRIC)
    assert len(result.judges) == 2
    assert (result.alpha, result.units) == (None, 0)


def test_flips_and_ties_are_both_no_preference(ask, mind):
    flips, ties = mind(name="a", first=1.0), mind(name="b", ties=1.0)
    found = said(ask(flips, ties))
    pair = agreements(found.judges, found.pairs, METRIC).of(flips.key, ties.key)
    assert pair.same == 1
    assert pair.kappa is None


def test_a_jury_is_no_judge_of_its_own(ask, mind, sit):
    one, other = mind(name="a"), mind(name="b")
    found = said(ask(one, other, records=[sit("jury", one, other)]))
    assert "jury@jury" not in agreements(found.judges, found.pairs, METRIC).judges


# --- ranking --------------------------------------------------------------------------------


def test_all_methods_are_ranked_by_their_strength(ask, mind):
    one = mind(ties=0.0, skill=1.0)
    found = said(ask(one, against=("all",), effects=(("reverse_kl", 0.1),)))
    ranking = standing(one.key, found.pairs[one.key]).ranking
    names = [player.name for player in ranking.players]
    assert names[-1] == "untrained"
    assert names.index("reverse_kl + adakd") < names.index("reverse_kl")
    assert ranking.intransitive == 0
    assert ranking.triples == 10


def test_a_comparison_counts_once_whatever_it_was_called(ask, mind):
    one = mind()
    changes = {"effects": (("reverse_kl", 0.1),), "limit": 10}
    alone = said(ask(one, against=("all",), **changes))
    twice = said(ask(one, against=("all", "plain", "again"), name="twice", **changes))
    games = [standing(one.key, s.pairs[one.key]).ranking.games for s in (alone, twice)]
    assert games[0] == games[1]


def test_two_methods_are_no_ranking(ask, mind):
    one = mind()
    found = said(ask(one, effects=(("reverse_kl", 0.1),)))
    assert standing(one.key, found.pairs[one.key]) is None


def test_methods_that_never_met_are_no_ranking(ask, mind):
    one = mind()
    assert standing(one.key, said(ask(one)).pairs[one.key]) is None


def test_the_reference_is_a_player(ask, mind):
    one = mind()
    found = said(ask(one, against=("reference",), effects=(("reverse_kl", 0.1),)))
    names = [player.name for player in standing(one.key, found.pairs[one.key]).ranking.players]
    assert sorted(names) == ["reference", "reverse_kl", "reverse_kl + adakd"]


def test_the_metric_prefers_the_better_value_whatever_its_direction(ask, mind):
    one = mind(name="a")
    store = ask(one, failed=None)
    (run,) = store.of(RunRecord)
    up = said(store)
    lower = {"higher_is_better": False}
    tasks = tuple(task.model_copy(update=lower) for task in run.tasks)
    scores = [score.model_copy(update=lower) for score in store.of(ScoreRecord)]
    store.add(run.model_copy(update={"tasks": tasks}), *scores)
    down = said(store)
    swapped = {"win": "loss", "loss": "win"}
    for before, after in zip(up.pairs[one.key], down.pairs[one.key], strict=True):
        preferred = before.preferred_by_metric
        assert after.preferred_by_metric == swapped.get(preferred, preferred)
    assert {pair.preferred_by_metric for pair in down.pairs[one.key]} >= {"win", "loss"}
