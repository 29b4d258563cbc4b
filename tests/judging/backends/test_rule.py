import asyncio

import pytest

from adakd.errors import AdakdError
from adakd.judging import ItemText, Question, Rule, Subject, Verdict, load_panel
from adakd.judging.runner import judge_answers
from adakd.store.records import ScoreRecord

ITEM = ItemText("Count.", "", ("one two three", "1 2 3"))


def verdict(first: str, second: str, margin: float = 0.02, item: ItemText = ITEM) -> Verdict:
    async def ask() -> Verdict:
        async with Rule(tie_margin=margin).open() as session:
            return await session.ask(Question(item, first, second))

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
    subject = Subject(tuple(store.current(ScoreRecord)), items)
    judged = judge_answers(store, load_panel(["rule"]), subject)
    assert judged.summaries[0].outcomes == {"win": 5, "identical": 1}
    assert judged.asked == 10


def test_it_cannot_judge_against_what_it_goes_by(store, items) -> None:
    subject = Subject(tuple(store.current(ScoreRecord)), items, "reference")
    with pytest.raises(AdakdError, match=r"rule.yaml: kind: .*use a model"):
        judge_answers(store, load_panel(["rule"]), subject)
