import asyncio

import pytest

from adakd.errors import AdakdError
from adakd.judging import ItemText, Question, Rule, Verdict, judge_answers, load_judge

ITEM = ItemText("Count.", "", ("one two three", "1 2 3"))


def verdict(first: str, second: str, margin: float = 0.02, item: ItemText = ITEM) -> Verdict:
    async def ask() -> Verdict:
        async with Rule(tie_margin=margin).open() as ask_rule:
            return await ask_rule(Question(item, first, second))

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("first", "second", "choice"),
    [
        ("one two three", "four", "first"),
        ("four", "1 2 3", "second"),
        ("one two", "1 2", "tie"),
        ("", "four", "tie"),
        ("", "one", "second"),
    ],
)
def test_the_answer_nearer_to_any_reference_wins(first: str, second: str, choice: str) -> None:
    assert verdict(first, second).choice == choice


def test_a_lead_within_the_margin_is_a_tie() -> None:
    assert verdict("one two three", "one two", margin=0.1).choice == "first"
    assert verdict("one two three", "one two", margin=0.2).choice == "tie"


def test_it_judges_a_run_without_flips(store, items) -> None:
    summary = judge_answers(store, load_judge("rule"), items)
    assert summary.outcomes == {"win": 5, "identical": 1}
    assert summary.asked == 10


def test_it_cannot_judge_against_what_it_goes_by(store, items) -> None:
    with pytest.raises(AdakdError, match=r"rule.yaml: kind: .*ask a model"):
        judge_answers(store, load_judge("rule"), items, against="reference")
