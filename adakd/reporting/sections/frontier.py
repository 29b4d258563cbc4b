"""Quality against cost: scores by training time, tokens and memory, with the frontier."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from statistics import median

from adakd.planning import PLAIN
from adakd.reporting.charts import Point, ScatterChart, axis_over
from adakd.reporting.families import arm_differences
from adakd.reporting.formatting import duration, interval, number, size
from adakd.reporting.index import Index, Method
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.equal_time import TimedScore, equal_times
from adakd.reporting.sections.overhead import Overhead, overheads
from adakd.reporting.sections.scores import set_means
from adakd.stats import Difference

Ends = tuple[float, float]
KIB = 1024


@dataclass(frozen=True)
class CostedMethod:
    """The score of a method and what one of its trainings takes; None where it is not known."""

    method: Method
    score: float
    ends: Ends | None
    """The interval of the paired difference to the plain arm, around the score."""
    seconds: float | None
    seconds_ends: Ends | None = None
    """The interval of the overhead, times the seconds of the plain arm."""
    tokens: float | None = None
    """Response tokens of all batches."""
    memory: float | None = None
    """Peak memory of a step in bytes."""

    @property
    def label(self) -> str:
        """The method with its score and its costs."""
        known = (
            f" ({interval(*self.ends)})" if self.ends else "",
            f", {duration(self.seconds)}" if self.seconds is not None else "",
            f", {number(self.tokens, 0)} tokens" if self.tokens is not None else "",
            f", {size(int(self.memory))}" if self.memory is not None else "",
        )
        return f"{self.method}: {number(self.score)}{''.join(known)}"


@dataclass(frozen=True)
class Measure:
    """One way to count the cost."""

    name: str
    title: str
    cost: Callable[[CostedMethod], float | None]
    ends: Callable[[CostedMethod], Ends | None]


MEASURES = (
    Measure("seconds", "training time", lambda one: one.seconds, lambda one: one.seconds_ends),
    Measure("tokens", "response tokens", lambda one: one.tokens, lambda one: None),
    Measure("memory", "peak memory of a step", lambda one: one.memory, lambda one: None),
)


@dataclass(frozen=True)
class Panel:
    """The scores by one measure of cost."""

    measure: str
    title: str
    unit: str
    scale: float
    """Costs are divided by this on the axis."""
    methods: tuple[CostedMethod, ...]
    """Those with a known cost."""
    frontier: tuple[CostedMethod, ...]
    """Those of which no other has at least the score at the same or a lower cost; cheap first."""
    chart: ScatterChart


@dataclass(frozen=True)
class Frontier:
    """Scores against each cost that was measured."""

    unit: str
    """Of the scores."""
    methods: tuple[CostedMethod, ...]
    panels: tuple[Panel, ...]
    is_interleaved: bool
    """Whether seconds are of interleaved steps, else of whole trainings one after the other."""

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms in the charts."""
        return tuple(dict.fromkeys(one.method.arm for one in self.methods if not one.method.longer))

    @property
    def has_longer(self) -> bool:
        """Whether a plain arm was trained for longer."""
        return any(one.method.longer for one in self.methods)


def frontier(context: Context) -> Frontier | None:
    """Return scores by cost; None where less than two trained methods have a score."""
    methods = tuple(timed_methods(context))
    is_interleaved = bool(methods)
    methods = methods or tuple(whole_trainings(context))
    if len(methods) < 2:
        return None
    metric = context.index.metric
    higher_is_better = metric is None or metric.higher_is_better
    panels = (_panel(measure, methods, higher_is_better) for measure in MEASURES)
    return Frontier(
        unit=context.once(set_means).units[-1],
        methods=methods,
        panels=tuple(panel for panel in panels if panel),
        is_interleaved=is_interleaved,
    )


def timed_methods(context: Context) -> Iterator[CostedMethod]:
    """Yield the methods whose steps were timed in turn, each once, with the costs of a training."""
    timed = {(row.divergence, row.arm): row for row in context.once(overheads)}
    batches = context.index.suite.training.gradient_accumulation if context.index.suite else 1
    seen: set[Method] = set()
    for row in context.once(equal_times):
        arm = row.adaptive.method
        measured = timed[str(arm.divergence), arm.arm]
        for one in row.scored:
            if one.method not in seen and one.score is not None:
                seen.add(one.method)
                found = _costed(one, one.score, measured, batches)
                if one.method == arm and isfinite(row.overhead.low + row.overhead.high):
                    low, high = row.overhead.low, row.overhead.high
                    of_plain = row.adaptive.steps * row.plain.seconds / row.plain.steps
                    found = replace(found, seconds_ends=(of_plain * low, of_plain * high))
                yield found


def _costed(one: TimedScore, score: float, measured: Overhead, batches: int) -> CostedMethod:
    peak = measured.peak_plain if one.method.arm == PLAIN else measured.peak_adaptive
    tokens = one.steps * batches * measured.tokens
    return CostedMethod(one.method, score, one.ends, one.seconds, tokens=tokens, memory=peak)


def whole_trainings(context: Context) -> Iterator[CostedMethod]:
    """Yield the trained methods with the wall-clock seconds of a whole training."""
    index, table = context.index, context.once(set_means)
    over_plain = {
        (row.divergence, row.arm): row.difference for row in context.once(arm_differences).overall
    }
    for method, scores in table.rows:
        seconds = _seconds(index, method)
        if scores and scores[-1].mean is not None and seconds:
            difference = over_plain.get((str(method.divergence), method.arm))
            ends = _around(scores[-1].mean, difference) if not method.longer else None
            yield CostedMethod(method, scores[-1].mean, ends, median(seconds))


def _seconds(index: Index, method: Method) -> list[float]:
    records = (index.trainings.get((method, seed)) for seed in index.all_seeds)
    return [record.seconds for record in records if record and record.steps and record.seconds]


def _around(score: float, difference: Difference | None) -> Ends | None:
    if difference is None or not isfinite(difference.low + difference.high):
        return None
    away = score - difference.estimate
    return away + difference.low, away + difference.high


def undominated(
    methods: Sequence[CostedMethod],
    of: Callable[[CostedMethod], float | None],
    higher_is_better: bool = True,
) -> tuple[CostedMethod, ...]:
    """Return the methods that score more than all that cost no more; the cheapest first."""
    sign = 1 if higher_is_better else -1
    costs = {one.method: value for one in methods if (value := of(one)) is not None}
    known = [one for one in methods if one.method in costs]
    known.sort(key=lambda one: (costs[one.method], -sign * one.score))
    found: list[CostedMethod] = []
    for one in known:
        if not found or sign * one.score > sign * found[-1].score:
            found.append(one)
    return tuple(found)


def _panel(
    measure: Measure, methods: Sequence[CostedMethod], higher_is_better: bool
) -> Panel | None:
    known = [one for one in methods if measure.cost(one) is not None]
    if len(known) < 2:
        return None
    unit, scale = _unit(measure.name, max(measure.cost(one) or 0.0 for one in known))
    best = undominated(known, measure.cost, higher_is_better)
    numbers: Mapping[Method, int] = {one.method: n for n, one in enumerate(best, start=1)}
    points = tuple(_point(one, measure, scale, numbers.get(one.method)) for one in known)
    ends = [end for one in methods for end in (one.score, *(one.ends or ()))]
    return Panel(
        measure=measure.name,
        title=measure.title,
        unit=unit,
        scale=scale,
        methods=tuple(known),
        frontier=best,
        chart=ScatterChart(points, axis_over(ends, ticks=5), unit),
    )


def _point(one: CostedMethod, measure: Measure, scale: float, number: int | None) -> Point:
    ends = measure.ends(one)
    return Point(
        series="longer" if one.method.longer else one.method.arm,
        label=one.label,
        x=(measure.cost(one) or 0.0) / scale,
        y=one.score,
        y_ends=one.ends,
        x_ends=(ends[0] / scale, ends[1] / scale) if ends else None,
        number=number,
    )


def _unit(measure: str, most: float) -> tuple[str, float]:
    """Return the unit of an axis and its size, so that the axis has short numbers."""
    if measure == "seconds":
        return ("hours", 3600.0) if most > 7200 else ("seconds", 1.0)
    if measure == "tokens":
        units = (("million tokens", 1e6), ("thousand tokens", 1e3))
        return next((unit for unit in units if most >= 2 * unit[1]), ("tokens", 1.0))
    return ("GiB", float(KIB**3)) if most >= 2 * KIB**3 else ("MiB", float(KIB**2))
