"""Diagnostics of one training of each method, at its start and at its end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from adakd.planning import PLAIN
from adakd.reporting import formatting
from adakd.reporting.charts import Bar, Line, LineChart
from adakd.reporting.index import Index, Method
from adakd.reporting.sections.base import Context
from adakd.store.records import DiagnosticRecord, GroupGradient, Half, Histogram, Third

HALVES: tuple[Half, ...] = ("hard", "easy")
GROUPS: dict[Third, str] = {"hard": "s2", "mid": "s4", "easy": "s1"}
"""Groups of tokens with their colours."""
DRAWN = 12
"""Most methods on the page, each of some forty kilobytes; ``report.json`` has all of them."""
MEASURES = {"share": "share of norm", "whole": "cosine with all", "sft": "cosine with SFT"}
"""Measures of a group's gradient: field and name."""


@dataclass(frozen=True)
class BarChart:
    """A chart of bars with its title and labels."""

    title: str
    across: str
    bars: tuple[Bar, ...]
    names: dict[float, str] | None = None
    """Tick labels by position; the default is numbers."""


@dataclass(frozen=True)
class MethodDiagnostics:
    """The diagnostics of one training of a method."""

    method: Method
    seed: int
    steps: tuple[int, ...]
    ends: tuple[tuple[str, DiagnosticRecord], ...]
    """The first and the last record, by name; one if there is only one."""
    shares: LineChart | None
    """The groups' shares of the gradient over the steps, if there are more than two records."""

    @property
    def charts(self) -> tuple[BarChart, ...]:
        """The charts of temperatures, entropies and gradients."""
        return tuple(bar_charts(self))

    @property
    def constant_temperature(self) -> str:
        """The temperatures that are equal for all tokens and not drawn, in a sentence."""
        same = [
            f"{formatting.number(record.temperature.low)} at the {name}"
            for name, record in self.ends
            if record.temperature.high <= record.temperature.low
        ]
        return f"All selected tokens have one temperature: {', '.join(same)}." if same else ""


@dataclass(frozen=True)
class Diagnostics:
    """The diagnostics of all methods."""

    methods: tuple[MethodDiagnostics, ...]

    @property
    def drawn(self) -> tuple[MethodDiagnostics, ...]:
        """The methods that the page has room for: the first of the suite."""
        return self.methods[:DRAWN]

    @property
    def groups(self) -> dict[Third, str]:
        """The groups of tokens with their colours."""
        return GROUPS

    @property
    def has_layer(self) -> bool:
        """Whether any record has gradients by a layer's parameters."""
        ends = (record for one in self.methods for _, record in one.ends)
        return any(record.layer_gradient is not None for record in ends)

    @property
    def open(self) -> MethodDiagnostics:
        """The method that the page shows unfolded: the first adaptive one, if there is one."""
        adaptive = [one for one in self.methods if one.method.arm != PLAIN]
        return (adaptive or self.methods)[0]


def diagnostics(context: Context) -> Diagnostics | None:
    """Return the diagnostics of the first training of each method; None if there are none."""
    index, found = context.index, _by_method(context)
    methods = [
        _of_method(method, found[method], index) for method in index.methods if method in found
    ]
    return Diagnostics(tuple(methods)) if methods else None


def _by_method(context: Context) -> dict[Method, list[DiagnosticRecord]]:
    found: dict[Method, list[DiagnosticRecord]] = {}
    records = context.store.of(DiagnosticRecord)
    current = [record for record in records if context.index.is_current(record.cell)]
    for record in sorted(current, key=lambda record: record.step):
        found.setdefault(Method.of(record.cell), []).append(record)
    return found


def _of_method(
    method: Method, records: Sequence[DiagnosticRecord], index: Index
) -> MethodDiagnostics:
    seeds = {record.cell.seed for record in records}
    seed = next((seed for seed in index.all_seeds if seed in seeds), records[0].cell.seed)
    mine = [record for record in records if record.cell.seed == seed]
    ends = [("start", mine[0]), ("end", mine[-1])][: len(mine)]
    return MethodDiagnostics(
        method=method,
        seed=seed,
        steps=tuple(record.step for record in mine),
        ends=tuple((f"{name}, step {record.step}", record) for name, record in ends),
        shares=_shares(mine, seed) if len(mine) > 2 else None,
    )


def _shares(records: Sequence[DiagnosticRecord], seed: int) -> LineChart | None:
    """Return the share of each group of tokens over the steps."""
    lines = []
    for group in GROUPS:
        values = [(record.step, record.gradient[group].share) for record in records]
        points = tuple((float(step), value) for step, value in values if value is not None)
        if points:
            lines.append(Line(f"{group} tokens", group, seed, points))
    return LineChart("Share of the gradient's norm", "share", tuple(lines)) if lines else None


# --- charts ---------------------------------------------------------------------------------


def bar_charts(one: MethodDiagnostics) -> Iterator[BarChart]:
    """Yield the charts of start and end: temperatures, entropies, gradients."""
    for name, record in one.ends:
        if record.temperature.high > record.temperature.low:
            bars = _bars(record.temperature, "s1", "temperature")
            yield BarChart(f"Temperature of selected tokens ({name})", "temperature", bars)
    for half in HALVES:
        for name, record in one.ends:
            entropy = record.entropy[half]
            bars = _bars(entropy.before, "s0", "before")
            if entropy.after != entropy.before:
                bars += _bars(entropy.after, "front " + GROUPS[half], "after")
            title = f"Student entropy, {half} half ({name})"
            yield BarChart(title, "nats", bars)
    for name, record in one.ends:
        yield _gradient(f"Gradient by the logits ({name})", record.gradient)
    for name, record in one.ends:
        if record.layer_gradient is not None:
            title = f"Gradient by layer {record.layer}'s parameters ({name})"
            yield _gradient(title, record.layer_gradient)


def _bars(histogram: Histogram, css: str, name: str) -> tuple[Bar, ...]:
    """Return the bins as shares of the values."""
    total = sum(histogram.counts) or 1
    width = (histogram.high - histogram.low) / len(histogram.counts) or 1.0
    start = histogram.low if histogram.high > histogram.low else histogram.low - width / 2
    bars = []
    for number, count in enumerate(histogram.counts):
        left, right = start + number * width, start + (number + 1) * width
        label = f"{name}: {formatting.percent(count / total, 1)} at {formatting.number(left)}"
        label += f" to {formatting.number(right)}"
        bars.append(Bar(css, label, left, right, count / total))
    return tuple(bars)


def _gradient(title: str, gradient: Mapping[Third, GroupGradient]) -> BarChart:
    """Return the bars of the three groups for each measure."""
    bars, names = [], {}
    for place, (field, measure) in enumerate(MEASURES.items()):
        names[place + 0.5] = measure
        for number, (group, css) in enumerate(GROUPS.items()):
            value = getattr(gradient[group], field)
            label = f"{group} tokens, {measure}: {formatting.number(value)}"
            left = place + 0.14 + 0.24 * number
            bars.append(Bar(css, label, left, left + 0.22, value or 0.0))
    return BarChart(title, "", tuple(bars), names)
