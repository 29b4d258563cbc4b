"""Single items: chosen from all judges and outcomes, and filtered by style rules."""

from importlib import import_module

import pytest

from adakd.reporting.judges.items import MOST, agrees_with_metric, items, marks
from adakd.reporting.sections.base import Context


def shown(store):
    return items(Context.of(store))


def test_filters_hide_what_they_say(ask, mind, sit, page_of):
    minds = [mind(name="a", fails=0.1), mind(name="b", first=0.3)]
    store = ask(*minds, against=("plain", "teacher"), records=[sit("jury", *minds)])
    page = page_of(store)
    tags = page.tags
    items = [set(a["class"].split()) for t, a in tags if "item" in a.get("class", "").split()]
    options = [a["id"] for t, a in tags if t == "input" and "id" in a]
    assert len(items) == MOST
    found = shown(store)
    assert options == [f"only-{o.css}" for facet in found.facets for o in facet.options]
    labels = {facet.label for facet in found.facets}
    assert labels == {"Outcome", "ROUGE-L", "Judge", "Method", "Against", "Set", "Length"}
    for facet in found.facets:
        assert sum(option.count for option in facet.options) == MOST
        for option in facet.options:
            assert f"#only-{option.css}:checked) .item:not(.{option.css})" in page.style
            assert sum(option.css in classes for classes in items) == option.count


def test_items_come_from_all_judges_rows_and_outcomes(ask, mind, page_of):
    minds = [mind(name="a"), mind(name="b", fails=0.02)]
    store = ask(*minds, against=("plain", "teacher"))
    found = shown(store)
    assert len(found.items) == MOST < found.total
    assert f"{MOST} of {found.total:,} judged pairs" in page_of(store).text
    by_judge = [sum(item.judge == name for item in found.items) for name in "ab"]
    assert by_judge == [MOST // 2] * 2
    assert {item.outcome for item in found.items} == {"win", "loss", "tie", "failed"}
    assert {item.candidate.method for item in found.items} >= {"reverse_kl", "reverse_kl + adakd"}


def test_disagreement_with_the_metric_comes_first(ask, mind):
    store = ask(mind(skill=0.5))
    found = shown(store)
    kinds = [item.agrees for item in found.items]
    order = ["disagrees", "no preference", "agrees"]
    assert kinds == sorted(kinds, key=order.index)
    assert set(kinds) == set(order)
    verdicts = Context.of(store).verdicts
    for pair in next(iter(verdicts.comparisons.values())):
        better = (pair.candidate.value or 0) > (pair.opponent.value or 0)
        if agrees_with_metric(pair) == "disagrees" and pair.candidate.value and pair.opponent.value:
            assert (pair.outcome == "win") != better


def test_an_item_shows_both_orders_of_every_member(ask, mind, sit):
    minds = [mind(name="a", graded=True), mind(name="b", rates=True)]
    found = shown(ask(*minds, records=[sit("jury", *minds)]))
    item = next(item for item in found.items if item.judge == "jury" and item.outcome != "failed")
    (graded, rated) = item.by_member
    assert [verdict.judge for verdict in (*graded, *rated)] == ["a", "a", "b", "b"]
    assert {verdict.order.endswith("shown first") for verdict in graded} == {True}
    assert all(verdict.verdict.startswith("rated ") for verdict in rated)
    assert sum(graded[0].probabilities) == pytest.approx(1)


def test_without_their_texts_answers_are_shown_alone(ask, mind, page_of):
    page = page_of(ask(mind(), examples=False)).text
    assert "All" in page or "of" in page
    assert "Single items" in page
    assert "not recorded" not in page


def test_very_long_texts_are_cut(ask, mind):
    found = shown(ask(mind(text="long " * 5000), limit=3))
    reason = found.items[0].by_member[0][0].reason
    assert len(reason.shown) == 2000
    assert reason.hidden == 5 * 5000 - 2000


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", ("empty",)),
        (" \n", ("empty",)),
        (None, ()),
        ("Short and no stop", ()),
        ("word " * 25, ("repetitive", "may be cut")),
        (" ".join(f"word{n}" for n in range(25)), ("may be cut",)),
        (" ".join(f"word{n}" for n in range(25)) + ".", ()),
        (" ".join(f"word{n}" for n in range(25)) + "\n- a list", ()),
    ],
)
def test_answers_are_marked_at_first_sight(answer, expected):
    assert marks(answer) == expected


def test_long_texts_leave_room_for_fewer_items(ask, mind, monkeypatch):
    store = ask(mind(name="a"))
    room = 5000
    monkeypatch.setattr(import_module("adakd.reporting.judges.items"), "ROOM", room)
    found = shown(store)
    assert 1 < len(found.items) < found.total
    texts = [one.candidate.text.shown + one.opponent.text.shown for one in found.items]
    assert room / 4 < sum(map(len, texts)) <= room
