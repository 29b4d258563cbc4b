"""A judge's vetting: its measures, and those below the bar."""

import pytest

from adakd.config.judge import Vetting
from adakd.reporting.judges.vetting import vetted, why_not
from adakd.store.records import VettingRecord


def known(case, number, first, second, difference=0, judge="j"):
    """Return both orders of a known pair: verdicts, or ratings of the right and the wrong one."""
    for right_first, said in ((True, first), (False, second)):
        is_rated = isinstance(said, float)
        yield VettingRecord(
            key=f"{judge}-{case}-{number}-{right_first}",
            judge=judge,
            task="t",
            item=f"{number}",
            case=case,
            right_first=right_first,
            length_difference=difference,
            verdict="rated" if is_rated else said,
            score=said if is_rated else None,
        )


def many(case, count, first, second, difference=0, start=0, judge="j"):
    return [
        record
        for number in range(start, start + count)
        for record in known(case, number, first, second, difference, judge)
    ]


@pytest.fixture
def record(mind):
    return mind().record.model_copy(update={"key": "j"})


def test_right_is_right_in_both_orders(record):
    found = vetted(
        record,
        [
            *many("other", 6, "right", "right"),
            *many("other", 1, "wrong", "wrong", start=6),
            *many("other", 2, "right", "wrong", start=7),
            *many("other", 1, "tie", "tie", start=9),
        ],
    )
    assert (found.accuracy.estimate, found.accuracy.n) == (0.6, 10)
    assert found.accuracy.low < 0.6 < found.accuracy.high
    assert found.flips.estimate == 0.2
    assert found.self_ties is None
    assert found.broken == ("decides 60 % of known pairs correctly (bar 80 %)",)


def test_cases_are_told_apart(record):
    found = vetted(
        record,
        [
            *many("other", 4, "right", "right"),
            *many("truncated", 4, "wrong", "wrong"),
            *many("shuffled", 2, "right", "right"),
            *many("same", 5, "tie", "tie"),
        ],
    )
    shares = {case: (share.estimate, share.n) for case, share in found.by_case.items()}
    assert shares == {"other": (1, 4), "truncated": (0, 4), "shuffled": (1, 2)}
    assert found.accuracy.n == 10
    assert found.self_ties.estimate == 1


def test_every_broken_bar_is_named_with_its_figure(record):
    found = vetted(
        record,
        [
            *many("other", 12, "right", "right", difference=9),
            *many("other", 12, "wrong", "wrong", difference=-9, start=12),
            *many("shuffled", 20, "right", "wrong"),
            *many("same", 10, "right", "wrong"),
        ],
    )
    assert found.broken == (
        "decides 27 % of known pairs correctly (bar 80 %)",
        "changes 45 % of its verdicts with the order (bar 25 %)",
        "calls 0 % of pairs of equal answers a tie (bar 50 %)",
        "is right 100 points more often where the right answer is the longer one (bar 25)",
    )


def test_length_pull_needs_more_than_chance(record):
    few = [
        *many("other", 5, "right", "right", difference=9),
        *many("other", 3, "right", "right", difference=-9, start=5),
        *many("other", 2, "wrong", "wrong", difference=-9, start=8),
    ]
    found = vetted(record, few)
    assert found.length_pull == pytest.approx(0.4)
    assert not found.is_pulled
    more = [
        *many("other", 50, "right", "right", difference=9),
        *many("other", 30, "right", "right", difference=-9, start=50),
        *many("other", 20, "wrong", "wrong", difference=-9, start=80),
    ]
    assert vetted(record, more).is_pulled


def test_cut_answers_tell_nothing_of_length(record):
    """The right answer is always the longer one there, so there is nothing to compare with."""
    cut = many("truncated", 10, "wrong", "wrong", difference=9)
    assert vetted(record, cut).length_pull is None


def test_failures_are_no_wrong_answers_but_most_of_them_break_the_bar(record):
    found = vetted(
        record, [*many("other", 3, "right", "right"), *many("other", 9, "failed", "right", start=3)]
    )
    assert (found.accuracy.estimate, found.accuracy.n) == (1, 3)
    assert (found.failed.estimate, found.failed.n) == (0.75, 12)
    assert found.broken == ("fails on 75 % of known pairs (bar 50 %)",)
    silent = vetted(record, many("other", 4, "failed", "failed"))
    assert silent.accuracy is None
    assert "gives no verdict on any known pair" in silent.broken


def test_of_two_ratings_the_higher_one_is_preferred(record):
    rating = record.model_copy(update={"asks": "rating"})
    found = vetted(
        rating,
        [
            *many("other", 8, 9.0, 4.0),
            *many("other", 1, 4.0, 9.0, start=8),
            *many("other", 1, 5.0, 5.0, start=9),
            *many("same", 4, 7.0, 7.0),
        ],
    )
    assert found.accuracy.estimate == 0.8
    assert found.flips is None
    assert found.self_ties.estimate == 1
    assert found.broken == ()


def test_a_jury_is_tried_by_the_majority_of_its_members(record):
    panel = record.model_copy(update={"key": "jury", "members": ("a", "b", "c")})
    said = {"a": "right", "b": "right", "c": "wrong"}
    records = [r for judge, v in said.items() for r in many("other", 5, v, v, judge=judge)]
    assert vetted(panel, records).accuracy.estimate == 1
    worse = [r for judge in "abc" for r in many("other", 5, "wrong", "wrong", judge=judge)]
    assert vetted(panel, worse).accuracy.estimate == 0


def test_without_known_pairs_there_is_no_vetting_and_a_reason(record):
    assert vetted(record, many("other", 5, "right", "right", judge="someone else")) is None
    off = record.model_copy(update={"vetting": Vetting(items=0)})
    assert why_not(off) == "switched off in the judge file"
    assert "no item has a reference" in why_not(record)
    assert "no item has a reference" in why_not(off, (off, record))
