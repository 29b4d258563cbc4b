"""Rankings: known strengths, parity with scikit-learn, letters, cycles and unlinked players."""

from itertools import combinations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from adakd.stats import Game, bradley_terry
from adakd.stats.bradley_terry import RIDGE
from adakd.stats.letter_display import compact_letters

STRENGTHS = {"best": 1.0, "good": 0.4, "twin": 0.4, "poor": -0.6, "worst": -1.2}


def played(rng, prompts=150, strengths=STRENGTHS):
    """Return a game of every two players on every prompt."""
    return [
        Game(prompt, one, other, float(rng.random() < expit(strengths[one] - strengths[other])))
        for prompt in range(prompts)
        for one, other in combinations(strengths, 2)
    ]


def always(*pairs, prompts=10):
    """Return games that the first of each pair always wins."""
    return [Game(prompt, *pair, 1.0) for prompt in range(prompts) for pair in pairs]


def test_known_strengths_are_found():
    ranking = bradley_terry(played(np.random.default_rng(0), 400))
    center = np.mean(list(STRENGTHS.values()))
    for player in ranking.players:
        assert player.strength == pytest.approx(STRENGTHS[player.name] - center, abs=0.2)
        assert player.low < player.strength < player.high
    letters = {player.name: set(player.letters) for player in ranking.players}
    assert letters["good"] & letters["twin"]
    assert [p.name for p in ranking.players if p.name not in ("good", "twin")] == [
        "best", "poor", "worst",
    ]  # fmt: skip
    assert not letters["best"] & letters["worst"]
    assert (ranking.games, ranking.dropped, ranking.left_out) == (4000, 0, ())


@pytest.mark.slow
def test_intervals_cover():
    rng, hits = np.random.default_rng(1), []
    for _ in range(300):
        for player in bradley_terry(played(rng, 60), replicates=400).players:
            truth = STRENGTHS[player.name] - np.mean(list(STRENGTHS.values()))
            hits.append(player.low <= truth <= player.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_strengths_match_scikit_learn():
    """Half and graded points too: a game is two weighted rows, a win and a loss."""
    rng = np.random.default_rng(2)
    games = [
        Game(g.prompt, g.first, g.second, rng.choice([g.points, 0.5, 0.8])) for g in played(rng, 40)
    ]
    names = sorted(STRENGTHS)
    sides = np.array([[(name == g.first) - (name == g.second) for name in names] for g in games])
    points = np.array([game.points for game in games])
    model = LogisticRegression(C=1 / RIDGE, fit_intercept=False, tol=1e-10, max_iter=1000)
    rows, won = np.concatenate([sides, sides]), np.repeat([1, 0], len(games))
    model.fit(rows, won, np.concatenate([points, 1 - points]))
    found = {player.name: player.strength for player in bradley_terry(games, 10).players}
    assert [found[name] for name in names] == pytest.approx(model.coef_[0].tolist(), abs=1e-6)


def test_the_order_of_players_makes_no_difference():
    games = played(np.random.default_rng(3), 30)
    turned = [Game(g.prompt, g.second, g.first, 1 - g.points) for g in games]
    one, other = bradley_terry(games, 200), bradley_terry(turned, 200)
    assert [p.name for p in one.players] == [p.name for p in other.players]
    assert [p.low for p in one.players] == pytest.approx([p.low for p in other.players])


def test_the_order_of_games_makes_no_difference():
    games = played(np.random.default_rng(4), 30)
    turned = [games[number] for number in np.random.default_rng(5).permutation(len(games))]
    assert bradley_terry(turned, 200) == bradley_terry(games, 200)


def test_all_wins_stay_finite():
    ranking = bradley_terry(always(("a", "b"), ("b", "c"), ("a", "c"), prompts=100))
    assert [player.name for player in ranking.players] == ["a", "b", "c"]
    assert [player.letters for player in ranking.players] == ["a", "b", "c"]
    assert 4 < ranking.players[0].strength < 10


def test_five_prompts_separate_nobody():
    ranking = bradley_terry(always(("a", "b"), ("b", "c"), ("a", "c"), prompts=5))
    assert {player.letters for player in ranking.players} == {"a"}


def test_rock_paper_scissors_is_counted():
    cycle = always(("rock", "scissors"), ("scissors", "paper"), ("paper", "rock"))
    ranking = bradley_terry(cycle)
    assert (ranking.intransitive, ranking.triples) == (1, 1)
    assert [player.strength for player in ranking.players] == pytest.approx([0, 0, 0])
    more = always(("top", "rock"), ("top", "paper"), ("top", "scissors"), ("top", "far"))
    ranking = bradley_terry(cycle + more)
    assert (ranking.intransitive, ranking.triples) == (1, 4)


def test_ties_and_transitive_wins_are_no_cycle():
    games = always(("a", "b"), ("a", "c")) + [Game(n, "b", "c", 0.5) for n in range(10)]
    assert bradley_terry(games).intransitive == 0


def test_players_that_nothing_links_are_left_out():
    games = always(("a", "b"), ("b", "c"), ("x", "y"))
    ranking = bradley_terry(games)
    assert {player.name for player in ranking.players} == {"a", "b", "c"}
    assert (ranking.left_out, ranking.games, ranking.triples) == (("x", "y"), 20, 0)


def test_refits_that_do_not_link_all_players_are_dropped_and_counted():
    rare = [
        Game(0, "c", "a", 1.0),
        *always(("a", "b"), prompts=20),
        *always(("b", "a"), prompts=20),
    ]
    ranking = bradley_terry(rare, replicates=1000)
    expected = (1 - 1 / 20) ** 20
    assert ranking.dropped / 1000 == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("games", "message"),
    [
        ([], "needs games"),
        (always(("a", "b")), "at least three"),
        (always(("a", "b"), ("c", "d")), "at least three"),
        (always(("a", "b"), ("b", "b"), ("b", "c")), "two players"),
        (always(("a", "b"), ("b", "c"), prompts=1), "two prompts"),
        ([Game(n, f"player {n}", f"player {n + 1}", 1.0) for n in range(20)], "more prompts"),
    ],
)
def test_what_cannot_be_ranked_is_an_error(games, message):
    with pytest.raises(ValueError, match=message):
        bradley_terry(games)


def test_letters_by_hand():
    """Of four in a row, neighbours are not separable and all others are."""
    apart = np.abs(np.subtract.outer(range(4), range(4))) > 1
    assert compact_letters(apart) == ["a", "ab", "bc", "c"]
    assert compact_letters(np.zeros((3, 3), bool)) == ["a", "a", "a"]
    assert compact_letters(~np.eye(3, dtype=bool)) == ["a", "b", "c"]


def test_two_share_a_letter_unless_they_are_separable():
    rng = np.random.default_rng(4)
    for _ in range(50):
        apart = np.triu(rng.random((7, 7)) < 0.4, 1)
        letters = compact_letters(apart | apart.T)
        for one, other in combinations(range(7), 2):
            assert bool(set(letters[one]) & set(letters[other])) != apart[one, other]
