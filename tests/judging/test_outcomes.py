from collections.abc import Callable, Sequence
from itertools import permutations, product
from typing import Any

import pytest

from adakd.judging.outcomes import combined, outcome, soft_points
from adakd.planning import Cell
from adakd.store.records import VerdictRecord

SAID = ("candidate", "opponent", "tie", "failed")
MIRROR = {"candidate": "opponent", "opponent": "candidate", "win": "loss", "loss": "win"}
MakeRecord = Callable[..., VerdictRecord]
MakeOrders = Callable[..., list[VerdictRecord]]


@pytest.fixture
def record(make_cell: Callable[..., Cell]) -> MakeRecord:
    """Return a verdict in one order."""

    def make(verdict: Any, candidate_first: bool = True, **rest: Any) -> VerdictRecord:
        known = {"key": "k", "judge": "one@1", "against": "plain", "task": "set", "item": "1"}
        return VerdictRecord(
            **{**known, **rest},
            words="w",
            candidate=make_cell("adakd"),
            opponent=make_cell(),
            sampling_seed=10,
            candidate_first=candidate_first,
            verdict=verdict,
        )

    return make


@pytest.fixture
def orders(record: MakeRecord) -> MakeOrders:
    """Return the verdicts in both orders."""

    def make(first: Any, second: Any, **rest: Any) -> list[VerdictRecord]:
        return [record(first, True, **rest), record(second, False, **rest)]

    return make


@pytest.fixture
def ratings(record: MakeRecord) -> MakeOrders:
    """Return the ratings of the candidate's answer and of the opponent's."""

    def make(mine: float, other: float) -> list[VerdictRecord]:
        return [record("rated", True, score=mine), record("rated", False, score=other)]

    return make


def swapped(pair: Sequence[VerdictRecord]) -> list[VerdictRecord]:
    """Let candidate and opponent change their roles."""

    def one(record: VerdictRecord) -> VerdictRecord:
        shares = record.probabilities
        return record.model_copy(
            update={
                "candidate_first": not record.candidate_first,
                "verdict": MIRROR.get(record.verdict, record.verdict),
                "probabilities": shares and (shares[1], shares[0], shares[2]),
            }
        )

    return [one(record) for record in reversed(pair)]


# --- one judge ------------------------------------------------------------------------------


@pytest.mark.parametrize("said", list(product(SAID, SAID)))
def test_only_two_orders_that_agree_decide(orders: MakeOrders, said: tuple[str, str]) -> None:
    found = outcome(orders(*said))
    if "failed" in said:
        assert found == "failed"
    elif said[0] != said[1]:
        assert found == "flip"
    else:
        assert found == {"candidate": "win", "opponent": "loss", "tie": "tie"}[said[0]]


@pytest.mark.parametrize("said", list(product(SAID, SAID)))
def test_swapping_the_sides_mirrors_the_outcome(orders: MakeOrders, said: tuple[str, str]) -> None:
    pair = orders(*said)
    found = outcome(pair)
    assert outcome(swapped(pair)) == MIRROR.get(found, found)
    assert outcome(pair[::-1]) == found


def test_a_missing_order_is_a_failure_and_never_a_tie(record: MakeRecord) -> None:
    for verdict in SAID:
        assert outcome([record(verdict)]) == "failed"
    assert outcome([]) == "failed"


def test_identical_answers_are_known_without_a_second_order(record: MakeRecord) -> None:
    assert outcome([record("identical")]) == "identical"
    assert soft_points([record("identical")]) == 0.5


@pytest.mark.parametrize(("mine", "other"), [(3.0, 2.9), (1.0, 5.0), (2.5, 2.5)])
def test_the_higher_rating_wins(ratings: MakeOrders, mine: float, other: float) -> None:
    expected = "win" if mine > other else "loss" if mine < other else "tie"
    found = outcome(ratings(mine, other))
    assert found == expected
    assert outcome(swapped(ratings(mine, other))) == MIRROR.get(found, found)


def test_a_rating_without_its_counterpart_is_a_failure(
    record: MakeRecord, ratings: MakeOrders
) -> None:
    assert outcome([ratings(5, 1)[0]]) == "failed"
    assert outcome([ratings(5, 1)[0], record("failed", False)]) == "failed"


# --- soft points ----------------------------------------------------------------------------


def test_a_liking_for_a_place_cancels_out(record: MakeRecord) -> None:
    first, second, tie = 0.7, 0.2, 0.1
    pair = [
        record("candidate", True, probabilities=(first, second, tie)),
        record("opponent", False, probabilities=(second, first, tie)),
    ]
    assert outcome(pair) == "flip"
    assert soft_points(pair) == pytest.approx(0.5)


def test_soft_points_mirror_and_stay_between_loss_and_win(record: MakeRecord) -> None:
    shares = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.2, 0.3)]
    for one, other in product(shares, shares):
        pair = [
            record("candidate", True, probabilities=one),
            record("tie", False, probabilities=other),
        ]
        points = soft_points(pair)
        assert points is not None
        assert 0 <= points <= 1
        assert soft_points(swapped(pair)) == pytest.approx(1 - points)


def test_soft_points_need_both_orders(record: MakeRecord, orders: MakeOrders) -> None:
    known = record("candidate", probabilities=(0.8, 0.1, 0.1))
    assert soft_points([known]) is None
    assert soft_points([known, record("failed", False)]) is None
    assert soft_points(orders("candidate", "candidate")) is None


# --- a jury ---------------------------------------------------------------------------------


def majority(votes: Sequence[str]) -> str:
    valid = [vote for vote in votes if vote != "failed"]
    if 2 * len(valid) <= len(votes):
        return "failed"
    return next((vote for vote in valid if 2 * valid.count(vote) > len(valid)), "tie")


@pytest.mark.parametrize("members", [2, 3, 4])
def test_in_each_order_most_of_the_valid_votes_decide(orders: MakeOrders, members: int) -> None:
    for votes in product(SAID, repeat=members):
        found = combined([orders(vote, "tie") for vote in votes], "jury@1")
        first, second = found
        assert first.verdict == majority(votes)
        assert second.verdict == "tie"
        assert (first.candidate_first, second.candidate_first) == (True, False)
        assert {record.judge for record in found} == {"jury@1"}


def test_a_failure_has_no_vote_and_half_of_a_jury_is_not_enough(orders: MakeOrders) -> None:
    fails, likes = orders("failed", "failed"), orders("candidate", "candidate")
    assert outcome(combined([fails, likes, likes], "j")) == "win"
    assert outcome(combined([fails, fails, likes], "j")) == "failed"
    reasons = {record.reason for record in combined([fails, fails, likes], "j")}
    assert reasons == {"only 1 of 3 members have a vote"}


def test_a_member_that_was_not_asked_has_no_vote(orders: MakeOrders) -> None:
    likes = orders("candidate", "candidate")
    assert outcome(combined([[], likes, likes], "j")) == "win"
    assert outcome(combined([[], [], likes], "j")) == "failed"
    assert outcome(combined([likes[:1], likes[:1], likes], "j")) == "failed"
    assert combined([[], []], "j") == []


def test_the_order_of_the_members_does_not_matter(orders: MakeOrders, ratings: MakeOrders) -> None:
    members = [orders("candidate", "tie"), orders("failed", "opponent"), ratings(2, 4)]
    outcomes = {outcome(combined(jury, "j")) for jury in permutations(members)}
    assert len(outcomes) == 1


def test_swapping_the_sides_mirrors_a_jury(orders: MakeOrders) -> None:
    for votes in product(SAID, repeat=3):
        jury = [orders(vote, other) for vote, other in zip(votes, votes[::-1], strict=True)]
        found = outcome(combined(jury, "j"))
        mirrored = combined([swapped(member) for member in jury], "j")
        assert outcome(mirrored) == MIRROR.get(found, found)


def test_a_jury_of_one_mind_says_what_each_member_says(orders: MakeOrders) -> None:
    for said in product(SAID, SAID):
        assert outcome(combined([orders(*said)] * 3, "j")) == outcome(orders(*said))


def test_a_member_that_rates_votes_in_both_orders(orders: MakeOrders, ratings: MakeOrders) -> None:
    likes, flips = orders("candidate", "candidate"), orders("candidate", "opponent")
    assert outcome(combined([ratings(4, 2), likes, flips], "j")) == "win"
    assert outcome(combined([ratings(2, 4), ratings(1, 2), likes], "j")) == "loss"
    assert outcome(combined([ratings(3, 3), ratings(3, 3), likes], "j")) == "tie"
    assert all(record.score is None for record in combined([ratings(4, 2), likes], "j"))


def test_a_rating_whose_counterpart_failed_has_no_vote(
    record: MakeRecord, orders: MakeOrders, ratings: MakeOrders
) -> None:
    broken = [ratings(5, 1)[0], record("failed", False)]
    dislikes = orders("opponent", "opponent")
    assert outcome(combined([broken, dislikes, dislikes], "j")) == "loss"
    assert outcome(combined([broken, broken, dislikes], "j")) == "failed"


def test_identical_answers_are_identical_to_a_jury(record: MakeRecord) -> None:
    same = [record("identical")]
    assert outcome(combined([same, same, same], "j")) == "identical"


def test_a_jury_takes_as_long_as_its_members_and_tells_their_votes(orders: MakeOrders) -> None:
    jury = [orders("candidate", "tie", seconds=2.0), orders("tie", "tie", seconds=1.0)]
    first, second = combined(jury, "j")
    assert first.seconds == second.seconds == 3.0
    assert first.reason == "1 candidate, 1 tie"
    assert second.reason == "2 tie"
