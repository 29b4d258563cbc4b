from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adakd.config.judge import Prices, Vetting
from adakd.judging.base import ItemText, Judge, Question, Tokens, Traits
from adakd.judging.cost import cost
from adakd.store import Store
from adakd.store.records import VerdictRecord, VettingRecord


class Backend:
    """Takes a token a letter, and is never asked."""

    def __init__(self, concurrency: int = 4, counts: bool = True) -> None:
        self._traits = Traits(concurrency=concurrency)
        self._counts = counts

    def traits(self) -> Traits:
        return self._traits

    def fingerprint(self):
        return {}

    def tokens(self, question: Question) -> Tokens | None:
        return Tokens(len(question.first), 100) if self._counts else None

    def open(self, mode):
        raise AssertionError("a plan asks nothing")


def _judge(name: str = "j", prices: Prices | None = None, **rest) -> Judge:
    backend = Backend(**rest)
    return Judge(name, "", Path(), "fake", backend, f"{name}@1", None, Vetting(), prices)


@dataclass
class Query:
    judge: Judge
    words: str
    question: Question = field(init=False)

    def __post_init__(self) -> None:
        self.question = Question(ItemText("q", "", ()), self.words, "")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def verdict(make_cell):
    def make(key: str, judge: str = "j@1", verdict="tie", **rest) -> VerdictRecord:
        given = {"against": "plain", "candidate": make_cell("adakd"), "opponent": make_cell()}
        place = {"task": "set", "item": "0", "sampling_seed": 1, "candidate_first": True}
        rest = {"words": key, **rest}
        return VerdictRecord(key=key, judge=judge, verdict=verdict, **given, **place, **rest)

    return make


def _queries(judge: Judge, *words: str) -> list[Query]:
    return [Query(judge, text) for text in words]


def test_tokens_and_prices_add_up_over_questions_and_vetting(store) -> None:
    judge = _judge(prices=Prices(prompt=2, completion=10, currency="EUR"))
    told = cost(judge, _queries(judge, "aa", "bbb"), _queries(judge, "c"), store)
    assert (told.judge, told.questions, told.vetting) == ("j@1", 2, 1)
    assert (told.prompt_tokens, told.completion_tokens) == (6, 300)
    assert told.cost == pytest.approx((6 * 2 + 300 * 10) / 1e6)
    assert told.currency == "EUR"
    assert (told.expected_cost, told.seconds) == (None, None)


def test_the_same_words_are_asked_once(store) -> None:
    judge = _judge()
    told = cost(judge, _queries(judge, "aa", "b", "aa", "aa"), _queries(judge, "c", "c"), store)
    assert (told.questions, told.reused, told.vetting, told.prompt_tokens) == (2, 2, 1, 4)


def test_each_judge_of_a_panel_pays_for_its_own_questions(store) -> None:
    one, other = _judge("one"), _judge("other")
    asked = [*_queries(one, "a", "b"), *_queries(other, "a")]
    told = [cost(judge, asked, asked[:1], store) for judge in (one, other)]
    assert [(t.questions, t.vetting) for t in told] == [(2, 1), (1, 0)]


def test_what_needs_no_asking_is_told_by_why(store, verdict) -> None:
    stored = [verdict("known"), verdict("old", reused=True), verdict("same", verdict="identical")]
    new = [verdict("new", reused=True), verdict("new-same", verdict="identical")]
    for record in stored:
        store.add(record)
    other = verdict("other", judge="k@1")
    told = cost(_judge(), [], [], store, [*stored, *new, other])
    assert (told.known, told.reused, told.identical) == (2, 1, 2)


def test_without_a_price_or_a_count_nothing_is_guessed(store) -> None:
    free = _judge()
    told = cost(free, _queries(free, "a"), [], store)
    assert (told.prompt_tokens, told.cost, told.currency) == (1, None, None)
    uncounted = _judge(prices=Prices(prompt=1, completion=1), counts=False)
    told = cost(uncounted, _queries(uncounted, "a"), [], store)
    assert (told.questions, told.prompt_tokens, told.completion_tokens) == (1, None, None)
    assert (told.cost, told.expected_cost, told.currency) == (None, None, "USD")


def test_nothing_to_ask_costs_nothing(store, verdict) -> None:
    said = [verdict("known", seconds=3, completion_tokens=5)]
    for record in said:
        store.add(record)
    told = cost(_judge(prices=Prices(prompt=1, completion=1)), [], [], store)
    assert (told.questions, told.prompt_tokens, told.completion_tokens) == (0, 0, 0)
    assert (told.cost, told.expected_cost, told.seconds) == (0, 0, 0)


def test_what_the_judge_said_before_tells_what_to_expect(store, verdict) -> None:
    judge = _judge(prices=Prices(prompt=0, completion=1_000_000), concurrency=2)
    place = {"task": "set", "item": "0", "case": "same", "right_first": True}
    call = {"judge": "j@1", "verdict": "tie", "seconds": 3, "completion_tokens": 30}
    vetted = VettingRecord(key="v", length_difference=0, **place, **call)
    said = [verdict("a", seconds=1, completion_tokens=10), vetted]
    for record in said:
        store.add(record)
    told = cost(judge, _queries(judge, "a", "b", "c"), _queries(judge, "d"), store)
    assert told.cost == 400
    assert told.expected_cost == 4 * 20
    assert told.seconds == 4 * 2 / 2


def test_only_calls_of_this_judge_tell_its_speed(store, verdict) -> None:
    said = [
        verdict("a", seconds=1, completion_tokens=10),
        verdict("b", seconds=600, verdict="failed"),
        verdict("c", seconds=50, completion_tokens=99, reused=True),
        verdict("d", verdict="identical"),
        verdict("e", judge="k@1", seconds=50, completion_tokens=99),
    ]
    for record in said:
        store.add(record)
    judge = _judge(prices=Prices(prompt=0, completion=1_000_000), concurrency=64)
    told = cost(judge, _queries(judge, "a", "b"), [], store)
    assert told.expected_cost == 20
    assert told.seconds == 1


def test_a_failed_call_that_spoke_was_paid_for(store, verdict) -> None:
    said = [verdict("a", verdict="failed", seconds=9, completion_tokens=40)]
    for record in said:
        store.add(record)
    judge = _judge(prices=Prices(prompt=0, completion=1_000_000))
    told = cost(judge, _queries(judge, "a"), [], store)
    assert (told.expected_cost, told.seconds) == (40, None)
