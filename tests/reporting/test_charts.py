"""Charts: axes, marks and escaped text."""

import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from adakd.reporting import charts


@pytest.mark.parametrize(
    ("values", "ticks", "digits"),
    [
        ([0, 100], (0, 25, 50, 75, 100), 0),
        ([-0.2, 0.31], (-0.2, 0, 0.2, 0.4), 1),
        ([3, 3], (2.5, 2.75, 3.0, 3.25, 3.5), 2),
        ([], (0, 0.25, 0.5, 0.75, 1), 2),
        ([0.9991, 1.0012], (0.999, 1, 1.001, 1.002), 3),
    ],
)
def test_ticks_are_round_and_hold_the_values(values, ticks, digits):
    axis = charts.axis_over(values)
    assert axis.ticks == pytest.approx(ticks)
    assert axis.digits == digits


def test_an_unknown_interval_is_not_drawn_and_a_long_one_has_arrows():
    axis = charts.axis_over([-1, 1])
    unknown = charts.forest_row(axis, 0.5, (math.nan, math.nan), kind="flat", title="t")
    assert 'class="interval"' not in unknown
    long = charts.forest_row(axis, 0.5, (-9, 9), kind="flat", title="t")
    assert long.count('class="beyond"') == 2


def test_points_stand_where_they_belong_with_their_intervals():
    marks = (
        charts.Point("plain", "<b>", 10.0, 2.0, number=1),
        charts.Point("on", "on", 12.0, 3.0, (2.5, 3.5), number=2),
        charts.Point("longer", "more", 11.0, 1.0),
    )
    chart = charts.ScatterChart(marks, charts.axis_over([1.0, 3.5]), "seconds")
    classes = {"plain": "s0", "on": "s1", "longer": "s5"}
    drawn = ElementTree.fromstring(charts.scatter_chart(chart, classes, "<i>"))
    dots = [node for node in drawn if node.tag == "circle"]
    assert [dot[0].text for dot in dots] == ["<b>", "on", "more"]
    across, down = ([float(dot.get(axis)) for dot in dots] for axis in ("cx", "cy"))
    assert across[0] < across[2] < across[1]
    assert down[1] < down[0] < down[2]
    (whisker,) = (node for node in drawn if "whisker" in node.get("class", ""))
    assert float(whisker.get("y2")) < down[1] < float(whisker.get("y1"))
    (line,) = (node for node in drawn if node.tag == "polyline")
    corners = [tuple(map(float, corner.split(","))) for corner in line.get("points", "").split()]
    assert corners[:3] == [(across[0], down[0]), (across[1], down[0]), (across[1], down[1])]
    alone = replace(chart, points=(replace(marks[1], x_ends=(8.0, 13.0)),))
    drawn = ElementTree.fromstring(charts.scatter_chart(alone, classes, "one"))
    upright, level = (node for node in drawn if "whisker" in node.get("class", ""))
    assert float(level.get("x1")) < float(upright.get("x1")) < float(level.get("x2"))


def test_costs_that_are_almost_alike_are_not_drawn_far_apart():
    marks = tuple(charts.Point("on", "", x, 1.0) for x in (100.0, 100.1))
    chart = charts.ScatterChart(marks, charts.axis_over([0.0, 1.0]), "seconds")
    drawn = ElementTree.fromstring(charts.scatter_chart(chart, {"on": "s1"}, "one"))
    one, other = (float(node.get("cx")) for node in drawn if node.tag == "circle")
    assert 0 <= other - one < 5


def test_charts_are_well_formed_and_escape_their_text():
    hostile = "<script>&\"'</script>"
    axis = charts.axis_over([0, 1])
    drawn = [
        charts.forest_row(axis, 0.5, (0, 1), kind="flat", title=hostile, points=(0.1,), band=0.1),
        charts.forest_axis(axis, label=hostile),
        charts.stacked_bar([("win", hostile, 3), ("loss", "b", 0)], hostile),
        charts.stacked_bar([("win", "a", 0)], "nothing to show"),
    ]
    for chart in drawn:
        ElementTree.fromstring(chart)
        assert "<script" not in chart


def test_bars_stand_on_zero_and_hang_from_it():
    up = charts.Bar("s1", "up", 0, 1, 0.5)
    down = charts.Bar("s2", "down", 1, 2, -0.5)
    root = ElementTree.fromstring(charts.bar_chart([up, down], "", "bars", {0.5: "a", 1.5: "b"}))
    one, other = (dict(box.attrib) for box in root.iter("rect"))
    ground = float(one["y"]) + float(one["height"])
    assert float(other["y"]) == pytest.approx(ground)
    assert one["height"] == other["height"] != "0.0"
    assert {"a", "b"} < {text.text for text in root.iter("text")}
