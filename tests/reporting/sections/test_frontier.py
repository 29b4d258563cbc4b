"""Quality against cost: costs by hand, the frontier by brute force, and what is not known."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adakd.reporting.index import Method
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.equal_time import equal_times
from adakd.reporting.sections.frontier import CostedMethod, frontier, undominated
from adakd.reporting.sections.overhead import overheads
from adakd.reporting.sections.scores import set_means


@pytest.fixture(scope="module")
def view(mini):
    return frontier(mini)


def made(scores_and_costs):
    return [
        CostedMethod(Method("distilled", f"d{number}"), float(score), None, float(seconds))
        for number, (score, seconds) in enumerate(scores_and_costs)
    ]


def by_seconds(one):
    return one.seconds


def test_every_timed_method_is_there_once_with_its_score(mini, view):
    means = {method: scores[-1].mean for method, scores in set_means(mini).rows}
    students = {m for m in mini.index.methods if m.role == "distilled"}
    assert {one.method for one in view.methods} == students
    assert len(view.methods) == len(students)
    assert all(one.score == means[one.method] for one in view.methods)
    assert view.is_interleaved
    assert [panel.measure for panel in view.panels] == ["seconds", "tokens", "memory"]


def test_costs_are_those_of_a_whole_training(mini, view):
    (row,) = [row for row in equal_times(mini) if row.plain.method.divergence == "reverse_kl"]
    timed = {(of.divergence, of.arm): of for of in overheads(mini)}["reverse_kl", "adakd"]
    of = {one.method: one for one in view.methods}
    plain, adaptive = of[row.plain.method], of[row.adaptive.method]
    assert plain.tokens == adaptive.tokens == 60 * 412
    assert (plain.memory, adaptive.memory) == (900 * 2**20, 1080 * 2**20)
    assert plain.seconds == pytest.approx(60 * timed.plain / 1000)
    low, high = adaptive.seconds_ends
    assert low < adaptive.seconds < high
    assert low == pytest.approx(plain.seconds * row.overhead.low)
    assert plain.ends is plain.seconds_ends is None
    assert adaptive.ends == row.adaptive.ends


def test_without_timing_whole_trainings_count_with_the_controls(made_store):
    view = frontier(Context.of(made_store(timing=False)))
    assert not view.is_interleaved
    assert [panel.measure for panel in view.panels] == ["seconds"]
    assert {one.seconds for one in view.methods} == {12.5}
    assert Method("sft") in {one.method for one in view.methods}
    assert Method("teacher") not in {one.method for one in view.methods}


def test_one_method_alone_has_no_frontier(made_store):
    assert frontier(Context.of(made_store(run=False, effects=(), timing=False))) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_frontier_scores_more_than_all_that_cost_no_more(values):
    for higher in (True, False):
        methods = made(values)
        sign = 1 if higher else -1
        found = undominated(methods, by_seconds, higher)
        for one, other in product(found, methods):
            if other.seconds <= one.seconds and other.method != one.method:
                beaten = sign * other.score > sign * one.score
                assert not beaten
        assert [one.seconds for one in found] == sorted({one.seconds for one in found})
        for one in methods:
            assert any(
                best.seconds <= one.seconds and sign * best.score >= sign * one.score
                for best in found
            )


def test_an_unknown_cost_is_on_no_frontier():
    known, unknown = made([(1, 1), (9, 9)])
    assert undominated([known, replace(unknown, seconds=None)], by_seconds) == (known,)


def test_frontier_points_are_numbered_in_the_chart(view):
    for panel in view.panels:
        numbers = [point.number for point in panel.chart.points if point.number]
        assert sorted(numbers) == list(range(1, len(panel.frontier) + 1))
    assert len({panel.chart.vertical for panel in view.panels}) == 1
