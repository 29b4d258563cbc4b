"""Judging cost, counted once."""

import pytest

from adakd.config.judge import Prices
from adakd.reporting.judges.spending import spending, spending_of
from adakd.reporting.sections.base import Context
from adakd.store.records import VerdictRecord, VettingRecord


def test_cost_is_tokens_at_the_prices_of_the_judge_file(ask, mind):
    one = mind(model="m", prices=Prices(prompt=2.0, completion=8.0, currency="EUR"), vetting=4)
    store = ask(one)
    found = spending_of(one.record, one.name, store.of(VerdictRecord), store.of(VettingRecord))
    requests = 2 * 2 * 2 * 25 * 2 + (3 * 2 + 1) * 4  # equal answers are asked about once
    assert (found.requests, found.vetting, found.reused) == (requests, 28, 0)
    assert (found.prompt_tokens, found.completion_tokens) == (400 * requests, 50 * requests)
    assert found.cost == pytest.approx(requests * (400 * 2 + 50 * 8) / 1e6)
    assert found.vetting_cost == pytest.approx(28 * (400 * 2 + 50 * 8) / 1e6)
    assert found.currency == "EUR"
    assert 0.5 <= found.median_seconds <= found.p95_seconds == pytest.approx(0.55)


def test_reused_and_identical_verdicts_cost_nothing(ask, mind):
    one = mind(model="m", prices=Prices(prompt=1.0, completion=1.0), vetting=0)
    first, second, third, *_ = ask(one, limit=1).of(VerdictRecord)
    records = [
        first,
        second.model_copy(update={"reused": True}),
        third.model_copy(update={"verdict": "identical"}),
    ]
    found = spending_of(one.record, one.name, records, ())
    assert (found.requests, found.reused) == (1, 1)
    assert found.cost == pytest.approx(450 / 1e6)


def test_requests_without_reported_tokens_are_counted_as_such(ask, mind):
    one = mind(model="m", prices=Prices(prompt=1.0, completion=1.0), vetting=0)
    first, second, *_ = ask(one, limit=1).of(VerdictRecord)
    silent = second.model_copy(update={"prompt_tokens": None, "completion_tokens": None})
    found = spending_of(one.record, one.name, [first, silent], ())
    assert (found.requests, found.unreported) == (2, 1)
    assert found.cost == pytest.approx(450 / 1e6)


def test_without_prices_or_tokens_there_is_no_cost(ask, mind):
    one = mind(vetting=0)
    store = ask(one, limit=2)
    found = spending_of(one.record, one.name, store.of(VerdictRecord), ())
    assert (found.cost, found.prompt_tokens, found.vetting_cost) == (None, None, None)


def test_a_jury_is_never_asked(ask, mind, sit):
    one, other = mind(name="a"), mind(name="b")
    store = ask(one, other, limit=2)
    records, known = store.of(VerdictRecord), store.of(VettingRecord)
    assert spending_of(sit("jury", one, other), "jury", records, known) is None
    found = spending(Context.of(store))
    assert [row.judge for row in found.rows] == ["a", "b"]
    assert (found.has_prices, found.has_tokens) == (False, False)
