"""Draw charts as inline SVG: no script, no font and nothing from the network.

Colours come from the page's CSS variables by class, so light, dark and print have their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, isfinite, log10

from markupsafe import Markup

from adakd.reporting.formatting import number, on_page, signed

ROW_WIDTH, ROW_HEIGHT, ROW_MARGIN = 320, 26, 18
CHART_WIDTH, CHART_HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 8, 34


@dataclass(frozen=True)
class Axis:
    """A linear axis with round ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]
    digits: int

    def at(self, value: float, start: float, end: float) -> float:
        """Return the position of a value between two positions, clipped to them."""
        share = (value - self.low) / (self.high - self.low)
        return round(start + min(max(share, 0), 1) * (end - start), 1)


def axis_over(values: Iterable[float | None], include: float | None = None, ticks: int = 5) -> Axis:
    """Return an axis with about `ticks` round ticks that shows all finite `values`."""
    finite = [value for value in values if value is not None and isfinite(value)]
    finite += [include] if include is not None else []
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / max(ticks - 1, 1)
    unit = 10.0 ** floor(log10(rough))
    multiple = next(m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough * 0.999)
    step = unit * multiple
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    marks = tuple(round(n * step, 10) for n in range(first, last + 1))
    decimals = -round(log10(unit)) + (multiple == 2.5) - (multiple == 10)
    return Axis(marks[0], marks[-1], marks, max(0, decimals))


# --- forest rows ----------------------------------------------------------------------------


def forest_row(
    axis: Axis,
    estimate: float,
    ends: tuple[float, float],
    *,
    kind: str,
    title: str,
    points: Sequence[float] = (),
    reference: float = 0.0,
    band: float | None = None,
) -> Markup:
    """Draw one interval with its estimate, the single points behind it and the reference line.

    Args:
        axis: the axis that all rows of a table share.
        estimate: the position of the mark.
        ends: the interval; not drawn if unknown (NaN), with an arrow where it leaves the axis.
        kind: CSS class of the mark: ``better``, ``worse`` or ``flat``.
        title: the content of the chart, for screen readers.
        points: small dots (seeds, pairs).
        reference: the value of no difference.
        band: half width of a band around the reference.
    """
    middle = ROW_HEIGHT / 2
    parts = [_band(axis, reference, band), _vertical(axis, reference, ROW_HEIGHT)]
    if all(map(isfinite, ends)):
        a, b = (_x(axis, end) for end in ends)
        parts.append(_tag("line", "interval", x1=a, x2=b, y1=middle, y2=middle))
        parts += [_arrow(x, middle, -1) for x in (a,) if ends[0] < axis.low]
        parts += [_arrow(x, middle, +1) for x in (b,) if ends[1] > axis.high]
    parts += [_tag("circle", "dot", cx=_x(axis, p), cy=middle + 7, r=1.8) for p in points]
    parts.append(_tag("circle", "estimate", cx=_x(axis, estimate), cy=middle, r=4.5))
    return _figure(ROW_WIDTH, ROW_HEIGHT, f"forest {kind}", title, parts)


def forest_axis(axis: Axis, *, label: str, reference: float = 0.0, sign: bool = True) -> Markup:
    """Draw the axis below the rows of a forest plot."""
    write = signed if sign else number
    parts = [_tag("line", "axis", x1=ROW_MARGIN, x2=ROW_WIDTH - ROW_MARGIN, y1=1, y2=1)]
    for tick in axis.ticks:
        x = _x(axis, tick)
        parts.append(_tag("line", "axis", x1=x, x2=x, y1=1, y2=5))
        parts.append(_text(x, 17, write(tick, axis.digits), "middle"))
    return _figure(ROW_WIDTH, 22, "forest", f"axis: {label}", parts)


def _arrow(x: float, y: float, direction: int) -> Markup:
    """Return the arrowhead of an interval that continues beyond the axis."""
    path = f"M{x + 7 * direction},{y}L{x},{y - 4}V{y + 4}Z"
    return Markup('<path class="beyond" d="{}"/>').format(path)


def _x(axis: Axis, value: float) -> float:
    return axis.at(value, ROW_MARGIN, ROW_WIDTH - ROW_MARGIN)


def _vertical(axis: Axis, value: float, height: float) -> Markup:
    return _tag("line", "reference", x1=_x(axis, value), x2=_x(axis, value), y1=0, y2=height)


def _band(axis: Axis, reference: float, half: float | None) -> Markup:
    if half is None:
        return Markup("")
    a, b = _x(axis, reference - half), _x(axis, reference + half)
    return _tag("rect", "band", x=a, y=0, width=round(b - a, 1), height=ROW_HEIGHT)


# --- lines ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    label: str
    series: str
    """An arm or a group of tokens, which gives the colour."""
    seed: int
    points: tuple[tuple[float, float], ...]
    """Step and value."""


@dataclass(frozen=True)
class LineChart:
    """One measure by optimizer step."""

    title: str
    measure: str
    lines: tuple[Line, ...]


def line_chart(chart: LineChart, classes: Mapping[str, str], label: str) -> Markup:
    """Draw every line of a chart; `classes` gives the CSS class of a series."""
    xs = [x for line in chart.lines for x, _ in line.points]
    ys = [y for line in chart.lines for _, y in line.points]
    horizontal, vertical = _tight(xs), axis_over(ys, ticks=5)
    parts = [*_grid(horizontal, vertical, "optimizer step")]
    for line in chart.lines:
        points = " ".join(f"{_across(horizontal, x)},{_up(vertical, y)}" for x, y in line.points)
        name = f"{line.label}, seed {line.seed}"
        shape = Markup('<polyline points="{}"><title>{}</title></polyline>').format(points, name)
        parts.append(Markup('<g class="series {}">{}</g>').format(classes[line.series], shape))
        if len(line.points) == 1:
            x, y = line.points[0]
            at = {"cx": _across(horizontal, x), "cy": _up(vertical, y), "r": 3}
            parts.append(_tag("circle", f"series-dot {classes[line.series]}", **at))
    return _figure(CHART_WIDTH, CHART_HEIGHT, "chart", label, parts)


def _tight(values: Sequence[float]) -> Axis:
    """Return an axis from the least to the greatest value, with the round ticks in between."""
    rounded = axis_over(values, ticks=5)
    low, high = min(values), max(values)
    if low == high:
        return rounded
    inside = tuple(tick for tick in rounded.ticks if low <= tick <= high)
    return Axis(low, high, inside, rounded.digits)


def _roomy(values: Sequence[float]) -> Axis:
    """Return an axis with a margin, so that no point lies on its ends.

    Costs that are almost alike are not drawn as if they were far apart.
    """
    room = max((max(values) - min(values)) / 8, abs(max(values)) / 20) or 1.0
    return _tight([min(values) - room, *values, max(values) + room])


def _grid(
    horizontal: Axis, vertical: Axis, label: str, names: Mapping[float, str] | None = None
) -> Iterable[Markup]:
    for tick in vertical.ticks:
        y = _up(vertical, tick)
        yield _tag("line", "grid", x1=LEFT, x2=CHART_WIDTH - RIGHT, y1=y, y2=y)
        yield _text(LEFT - 6, y + 3.5, number(tick, vertical.digits), "end")
    for tick in horizontal.ticks:
        x = _across(horizontal, tick)
        yield _tag(
            "line", "axis", x1=x, x2=x, y1=CHART_HEIGHT - BOTTOM, y2=CHART_HEIGHT - BOTTOM + 4
        )
        shown = names[tick] if names else number(tick, horizontal.digits)
        yield _text(x, CHART_HEIGHT - BOTTOM + 15, shown, "middle")
    middle = (LEFT + CHART_WIDTH - RIGHT) / 2
    yield _text(middle, CHART_HEIGHT - 3, label, "middle")


def _across(axis: Axis, value: float) -> float:
    return axis.at(value, LEFT, CHART_WIDTH - RIGHT)


def _up(axis: Axis, value: float) -> float:
    return axis.at(value, CHART_HEIGHT - BOTTOM, TOP)


# --- points ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """A point of a scatter chart with its intervals."""

    series: str
    """An arm, or ``longer``, which gives the colour."""
    label: str
    x: float
    y: float
    y_ends: tuple[float, float] | None = None
    x_ends: tuple[float, float] | None = None
    number: int | None = None
    """Its place on the frontier, which the points with a number are joined to; None off it."""


@dataclass(frozen=True)
class ScatterChart:
    """Points over a horizontal axis of their own; charts side by side share the vertical one."""

    points: tuple[Point, ...]
    """At least one."""
    vertical: Axis
    across: str
    """The label of the horizontal axis."""


def scatter_chart(chart: ScatterChart, classes: Mapping[str, str], label: str) -> Markup:
    """Draw points with their intervals and, as a stepped line, the numbered ones' frontier.

    Of very many points, the first ones and those of the frontier are drawn.

    Args:
        chart: the points.
        classes: the CSS class of each series.
        label: the content of the chart, for screen readers.
    """
    across = [x for point in chart.points for x in (point.x, *(point.x_ends or ()))]
    horizontal, vertical = _roomy(across), chart.vertical
    parts = [*_grid(horizontal, vertical, chart.across)]
    on_frontier = sorted((p for p in chart.points if p.number), key=lambda p: p.number or 0)
    places = [(_across(horizontal, p.x), _up(vertical, p.y)) for p in on_frontier]
    steps = [f"{x},{y}" for x, y in places[:1]]
    for (_, before), (x, y) in pairwise(places):
        steps += [f"{x},{before}", f"{x},{y}"]
    steps += [f"{CHART_WIDTH - RIGHT},{y}" for _, y in places[-1:]]
    parts.append(Markup('<polyline class="frontier" points="{}"/>').format(" ".join(steps)))
    for point in dict.fromkeys((*on_page(chart.points), *on_frontier)):
        css = classes[point.series]
        x, y = _across(horizontal, point.x), _up(vertical, point.y)
        if point.y_ends:
            low, high = (_up(vertical, end) for end in point.y_ends)
            parts.append(_tag("line", f"whisker {css}", x1=x, x2=x, y1=low, y2=high))
        if point.x_ends:
            low, high = (_across(horizontal, end) for end in point.x_ends)
            parts.append(_tag("line", f"whisker {css}", x1=low, x2=high, y1=y, y2=y))
        dot = Markup(
            '<circle class="series-dot {}" cx="{}" cy="{}" r="4.5"><title>{}</title></circle>'
        )
        parts.append(dot.format(css, x, y, point.label))
        if point.number:
            parts.append(_text(x - 7, y - 6, str(point.number), "end"))
    return _figure(CHART_WIDTH, CHART_HEIGHT, "chart", label, parts)


# --- vertical bars --------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A vertical bar between 0 and its height, which may be negative."""

    css: str
    label: str
    left: float
    right: float
    height: float


def bar_chart(
    bars: Sequence[Bar], across: str, label: str, names: Mapping[float, str] | None = None
) -> Markup:
    """Draw bars, the later ones in front.

    Args:
        bars: at least one.
        across: the label of the horizontal axis.
        label: the content of the chart, for screen readers.
        names: tick labels by position; the default is numbers.
    """
    edges = [edge for bar in bars for edge in (bar.left, bar.right)]
    horizontal = _tight(edges)
    if names:
        horizontal = Axis(min(edges), max(edges), tuple(names), 0)
    vertical = axis_over([bar.height for bar in bars], include=0.0)
    parts, ground = [*_grid(horizontal, vertical, across, names)], _up(vertical, 0)
    for bar in bars:
        left, right = (_across(horizontal, x) for x in (bar.left, bar.right))
        top, bottom = sorted((ground, _up(vertical, bar.height)))
        box = Markup('<rect class="column {}" x="{}" y="{}" width="{}" height="{}">')
        box = box.format(bar.css, left, top, round(right - left, 1), round(bottom - top, 1))
        parts.append(box + Markup("<title>{}</title></rect>").format(bar.label))
    return _figure(CHART_WIDTH, CHART_HEIGHT, "chart", label, parts)


# --- stacked bars ---------------------------------------------------------------------------


def stacked_bar(
    parts: Sequence[tuple[str, str, float]], title: str, full: float | None = None
) -> Markup:
    """Draw one bar of several parts, each with its label where it fits.

    Args:
        parts: CSS class, label and value of each part, left to right.
        title: the content of the chart, for screen readers.
        full: the value of the whole width; the default is the sum of the parts.
    """
    whole = full or sum(value for *_, value in parts) or 1.0
    shapes, x = [], 0.0
    for css, label, value in parts:
        width = value / whole * ROW_WIDTH
        if width > 0:
            shapes.append(_part(css, label, x, width))
        x += width
    return _figure(ROW_WIDTH, 20, "bar", title, shapes)


def _part(css: str, label: str, x: float, width: float) -> Markup:
    box = Markup(
        '<rect class="{}" x="{}" y="1" width="{}" height="18"><title>{}</title></rect>'
    ).format(css, round(x, 1), round(max(width - 1, 0.5), 1), label)
    fits = width > 5.8 * len(label) + 6
    return box + (_text(x + width / 2, 14, label, "middle") if fits else Markup(""))


# --- elements -------------------------------------------------------------------------------


def _figure(width: float, height: float, css: str, title: str, parts: Iterable[Markup]) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" role="img"><title>{}</title>{}</svg>'
    ).format(css, width, height, title, Markup("").join(parts))


def _tag(name: str, css: str, **attributes: float) -> Markup:
    pairs = Markup("").join(Markup(' {}="{}"').format(k, v) for k, v in attributes.items())
    return Markup('<{} class="{}"{}/>').format(name, css, pairs)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        round(x, 1), round(y, 1), anchor, text
    )
