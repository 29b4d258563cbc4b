"""The ranking of all methods by one judge."""

from adakd.reporting.judges.ranking import ranked
from adakd.reporting.sections.base import Context


def verdicts(store):
    return Context.of(store).verdicts


def test_all_methods_are_ranked_by_their_strength(ask, mind):
    one = mind(ties=0.0, skill=1.0)
    found = verdicts(ask(one, against=("all",), effects=(("reverse_kl", 0.1),)))
    ranking = ranked(found.comparisons[one.key])
    names = [player.name for player in ranking.players]
    assert names[-1] == "untrained"
    assert names.index("reverse_kl + adakd") < names.index("reverse_kl")
    assert ranking.intransitive == 0
    assert ranking.triples == 10


def test_a_comparison_counts_once_whatever_it_was_called(ask, mind):
    one = mind()
    changes = {"effects": (("reverse_kl", 0.1),), "limit": 10}
    alone = verdicts(ask(one, against=("all",), **changes))
    twice = verdicts(ask(one, against=("all", "plain", "again"), name="twice", **changes))
    games = [ranked(s.comparisons[one.key]).games for s in (alone, twice)]
    assert games[0] == games[1]


def test_two_methods_are_no_ranking(ask, mind):
    one = mind()
    found = verdicts(ask(one, effects=(("reverse_kl", 0.1),)))
    assert ranked(found.comparisons[one.key]) is None


def test_methods_that_never_met_are_no_ranking(ask, mind):
    one = mind()
    assert ranked(verdicts(ask(one)).comparisons[one.key]) is None


def test_the_reference_is_a_player(ask, mind):
    one = mind()
    found = verdicts(ask(one, against=("reference",), effects=(("reverse_kl", 0.1),)))
    names = [player.name for player in ranked(found.comparisons[one.key]).players]
    assert sorted(names) == ["reference", "reverse_kl", "reverse_kl + adakd"]
