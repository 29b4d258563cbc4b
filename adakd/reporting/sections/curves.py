"""Training curves: loss, kept ratio and temperature of every seed, thinned for the page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from statistics import fmean

from adakd.planning import PLAIN
from adakd.reporting.index import Index, Method
from adakd.store.records import Step

POINTS = 100
"""Most points of a line; longer trainings are averaged over equal stretches of steps."""
TOGETHER = 4
"""Adaptive arms of a divergence that share charts; of more, each has the plain arm beside it."""

MEASURES: dict[str, tuple[str, Callable[[Step], float]]] = {
    "loss": ("Loss", lambda step: step.loss),
    "kept": ("Share of tokens kept", lambda step: step.kept_ratio),
    "temperature": ("Temperature, mean over kept tokens", lambda step: step.temperature),
}


@dataclass(frozen=True)
class Line:
    """One seed of one arm."""

    label: str
    arm: str
    seed: int
    points: tuple[tuple[float, float], ...]
    """Step and value."""


@dataclass(frozen=True)
class Chart:
    """One measure of one divergence (or of a control), all arms and seeds."""

    title: str
    measure: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Curves:
    """The charts of one divergence, or of one of its arms, side by side."""

    name: str
    of_divergence: bool
    """Whether arms are compared; else it is a control by itself."""
    charts: tuple[Chart, ...]


def curves(index: Index) -> tuple[Curves, ...]:
    """Return the training curves by divergence, then those of the controls that were trained.

    Where a divergence has many adaptive arms, each of them stands alone with the plain one.
    """
    groups: dict[str, list[Method]] = {}
    for method in index.methods:
        if method.longer:
            continue  # the same curve as the plain arm's, stretched
        groups.setdefault(method.divergence or str(method), []).append(method)
    found = [
        Curves(name, methods[0].divergence is not None, _charts(index, methods))
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


def _charts(index: Index, methods: Sequence[Method]) -> tuple[Chart, ...]:
    charts = [
        Chart(title, measure, _lines(index, methods, value))
        for measure, (title, value) in MEASURES.items()
        if measure == "loss" or methods[0].role == "distilled"
    ]
    return tuple(chart for chart in charts if chart.lines)


def _lines(
    index: Index, methods: Sequence[Method], value: Callable[[Step], float]
) -> tuple[Line, ...]:
    lines = [
        Line(str(method), method.arm, seed, thinned(record.steps, value))
        for method in methods
        for seed in index.all_seeds
        if (record := index.trainings.get((method, seed)))
    ]
    return tuple(line for line in lines if line.points)


def thinned(
    steps: Sequence[Step], value: Callable[[Step], float], most: int = POINTS
) -> tuple[tuple[float, float], ...]:
    """Return step and value, averaged over stretches so that at most `most` points are left."""
    finite = [(step.step, value(step)) for step in steps if isfinite(value(step))]
    stretch = ceil(len(finite) / most) or 1
    parts = [finite[start : start + stretch] for start in range(0, len(finite), stretch)]
    return tuple((fmean(x for x, _ in part), fmean(y for _, y in part)) for part in parts)
