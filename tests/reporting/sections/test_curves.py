"""Training curves: lines, thinned, and their charts."""

import math
from importlib import import_module

from adakd.reporting.index import index
from adakd.reporting.sections.curves import curve_groups, curves, thinned


def test_long_trainings_are_averaged_over_ranges_of_steps():
    steps = range(1, 1001)
    points = thinned(steps, steps, most=100)
    assert len(points) == 100
    assert points[0] == (5.5, 5.5)


def test_values_that_are_not_finite_are_left_out():
    assert thinned([1, 2, 3], [1.0, math.nan, math.inf]) == ((1, 1.0),)
    assert thinned([1], [math.nan]) == thinned([], []) == ()


def test_every_divergence_has_three_charts_of_both_arms(mini):
    groups = curve_groups(mini.index)
    assert [group.name for group in groups][-1] == "sft"
    assert [len(group.charts) for group in groups] == [3, 3, 3, 1]
    assert len(groups[0].charts[0].lines) == 6


def test_of_many_arms_each_has_charts_with_the_plain_arm(made_store):
    arms = ("adakd", "idts", "latf", "ctkd", "egad")
    store = made_store(arms=arms, effects=(("reverse_kl", 0.0),), failed=None)
    *groups, sft = curve_groups(index(store))
    assert [group.name for group in groups] == [f"reverse_kl + {arm}" for arm in arms]
    for group, arm in zip(groups, arms, strict=True):
        assert {line.series for line in group.charts[0].lines} == {"plain", arm}
    assert sft.name == "sft"


def test_a_page_draws_as_many_lines_as_it_has_room_for(mini, monkeypatch):
    view = curves(mini)
    assert view.drawn == view.groups
    lines = [sum(len(chart.lines) for chart in group.charts) for group in view.groups]
    for room, expected in ((0, 1), (sum(lines[:2]), 2), (sum(lines) - 1, len(lines) - 1)):
        monkeypatch.setattr(import_module("adakd.reporting.sections.curves"), "DRAWN", room)
        assert view.drawn == view.groups[:expected]
