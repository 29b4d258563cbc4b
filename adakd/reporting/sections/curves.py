"""Training curves: loss, share of selected tokens and temperature of every seed, thinned."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

import numpy as np

from adakd.planning import PLAIN
from adakd.reporting.charts import Line, LineChart
from adakd.reporting.index import Index, Method
from adakd.reporting.sections.base import Context
from adakd.store.steps import Steps

POINTS = 100
"""Most points of a line; longer trainings are averaged over equal ranges of steps."""
DRAWN = 240
"""Most lines on the page, each of about a kilobyte; ``report.json`` has all of them."""
TOGETHER = 4
"""Most adaptive arms in one chart; with more, each has its own charts with the plain arm."""

MEASURES: dict[str, tuple[str, Callable[[Steps], Sequence[float]]]] = {
    "loss": ("Loss", lambda steps: steps.loss),
    "kept": ("Share of tokens selected", lambda steps: steps.kept_ratio),
    "temperature": ("Temperature, mean over selected tokens", lambda steps: steps.temperature),
}


@dataclass(frozen=True)
class CurveGroup:
    """The charts of one divergence, or of one of its arms, side by side."""

    name: str
    of_divergence: bool
    """Whether the charts compare arms; otherwise they show a control."""
    charts: tuple[LineChart, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms in the charts."""
        return tuple(dict.fromkeys(line.series for chart in self.charts for line in chart.lines))


@dataclass(frozen=True)
class Curves:
    """The training curves of all students."""

    groups: tuple[CurveGroup, ...]

    @property
    def drawn(self) -> tuple[CurveGroup, ...]:
        """The first groups, as many as the page has room for, and at least one."""
        lines = accumulate(sum(len(chart.lines) for chart in of.charts) for of in self.groups)
        room = sum(so_far <= DRAWN for so_far in lines)
        return self.groups[: max(room, 1)]


def curves(context: Context) -> Curves | None:
    """Return the training curves; None where the answers are from files."""
    return None if context.index.is_of_files else Curves(curve_groups(context.index))


def curve_groups(index: Index) -> tuple[CurveGroup, ...]:
    """Return the training curves by divergence, then those of the controls that were trained.

    Where a divergence has many adaptive arms, each of them has charts with the plain arm only.
    """
    groups: dict[str, list[Method]] = {}
    for method in index.methods:
        if method.longer:
            continue  # the same curve as the plain arm's, stretched
        groups.setdefault(method.divergence or str(method), []).append(method)
    found = [
        CurveGroup(name, methods[0].divergence is not None, _charts(index, methods))
        for name, methods in _apart(groups)
    ]
    found.sort(key=lambda group: not group.of_divergence)
    return tuple(group for group in found if group.charts)


def _apart(groups: Mapping[str, Sequence[Method]]) -> Iterator[tuple[str, Sequence[Method]]]:
    for name, methods in groups.items():
        plain = [method for method in methods if method.arm == PLAIN]
        if len(methods) - len(plain) <= TOGETHER:
            yield name, methods
        else:
            for method in methods:
                if method.arm != PLAIN:
                    yield str(method), [*plain, method]


def _charts(index: Index, methods: Sequence[Method]) -> tuple[LineChart, ...]:
    charts = [
        LineChart(title, measure, _lines(index, methods, value))
        for measure, (title, value) in MEASURES.items()
        if measure == "loss" or methods[0].role == "distilled"
    ]
    return tuple(chart for chart in charts if chart.lines)


def _lines(
    index: Index, methods: Sequence[Method], values: Callable[[Steps], Sequence[float]]
) -> tuple[Line, ...]:
    lines = [
        Line(str(method), method.arm, seed, thinned(record.steps.step, values(record.steps)))
        for method in methods
        for seed in index.all_seeds
        if (record := index.trainings.get((method, seed)))
    ]
    return tuple(line for line in lines if line.points)


def thinned(
    steps: Sequence[float], values: Sequence[float], most: int = POINTS
) -> tuple[tuple[float, float], ...]:
    """Return step and value, averaged over ranges of steps to at most `most` points."""
    points = np.array([steps, values], float)
    finite = points[:, np.isfinite(points[1])]
    starts = range(0, finite.shape[1], ceil(finite.shape[1] / most) or 1)
    if not starts:
        return ()
    lengths = np.diff([*starts, finite.shape[1]])
    means = np.add.reduceat(finite, starts, axis=1) / lengths
    return tuple(map(tuple, means.T.tolist()))
