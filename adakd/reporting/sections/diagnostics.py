"""Looks inside trainings: one training of each method, at its start and at its end."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adakd.reporting import formatting
from adakd.reporting.charts import Column
from adakd.reporting.index import Index, Method
from adakd.reporting.sections.curves import Chart, Line
from adakd.store import Store
from adakd.store.records import DiagnosticRecord, GroupGradient, Half, Histogram, Third

HALVES: tuple[Half, ...] = ("hard", "easy")
GROUPS: dict[Third, str] = {"hard": "s2", "mid": "s4", "easy": "s1"}
"""Groups of tokens, with the colour of each."""
MEASURES = {"share": "share of norm", "whole": "cosine with all", "sft": "cosine with SFT"}
"""Of a group's gradient: field and name."""


@dataclass(frozen=True)
class Picture:
    """A chart of bars and what stands around it."""

    title: str
    across: str
    columns: tuple[Column, ...]
    names: dict[float, str] | None = None
    """What stands below the bars; numbers if not given."""


@dataclass(frozen=True)
class Diagnosed:
    """The looks inside one training of a method."""

    method: Method
    seed: int
    steps: tuple[int, ...]
    ends: tuple[tuple[str, DiagnosticRecord], ...]
    """The first and the last look, by name; one where there was only one."""
    shares: Chart | None
    """The groups' shares of the gradient over the steps, where there were more than two looks."""


def diagnosed(store: Store, index: Index) -> tuple[Diagnosed, ...]:
    """Return the looks inside the first training of each method that has any."""
    found: dict[Method, list[DiagnosticRecord]] = {}
    records = [record for record in store.of(DiagnosticRecord) if index.is_current(record.cell)]
    for record in sorted(records, key=lambda record: record.step):
        found.setdefault(Method.of(record.cell), []).append(record)
    return tuple(
        _diagnosed(method, found[method], index) for method in index.methods if method in found
    )


def _diagnosed(method: Method, records: Sequence[DiagnosticRecord], index: Index) -> Diagnosed:
    seeds = {record.cell.seed for record in records}
    seed = next((seed for seed in index.all_seeds if seed in seeds), records[0].cell.seed)
    looks = [record for record in records if record.cell.seed == seed]
    ends = [("start", looks[0]), ("end", looks[-1])][: len(looks)]
    return Diagnosed(
        method=method,
        seed=seed,
        steps=tuple(record.step for record in looks),
        ends=tuple((f"{name}, step {record.step}", record) for name, record in ends),
        shares=_shares(looks, seed) if len(looks) > 2 else None,
    )


def _shares(records: Sequence[DiagnosticRecord], seed: int) -> Chart | None:
    """Return one line for each group, with the group in the place of an arm."""
    lines = []
    for group in GROUPS:
        values = [(record.step, record.gradient[group].share) for record in records]
        points = tuple((float(step), value) for step, value in values if value is not None)
        if points:
            lines.append(Line(f"{group} tokens", group, seed, points))
    return Chart("Share of the gradient's norm", "share", tuple(lines)) if lines else None


# --- pictures ---------------------------------------------------------------------------------


def pictures(one: Diagnosed) -> Iterator[Picture]:
    """Yield the charts of both ends: temperatures, entropies, gradients."""
    for name, record in one.ends:
        if record.temperature.high > record.temperature.low:
            columns = _columns(record.temperature, "s1", "temperature")
            yield Picture(f"Temperature of kept tokens ({name})", "temperature", columns)
    for half in HALVES:
        for name, record in one.ends:
            entropy = record.entropy[half]
            columns = _columns(entropy.before, "s0", "before")
            if entropy.after != entropy.before:
                columns += _columns(entropy.after, "front " + GROUPS[half], "after")
            title = f"Student entropy, {half} half ({name})"
            yield Picture(title, "nats", columns)
    for name, record in one.ends:
        yield _gradient(f"Gradient by the logits ({name})", record.gradient)
    for name, record in one.ends:
        if record.layer_gradient is not None:
            title = f"Gradient by layer {record.layer}'s parameters ({name})"
            yield _gradient(title, record.layer_gradient)


def has_layer(looks: Iterable[Diagnosed]) -> bool:
    """Tell whether gradients by a layer's parameters were taken anywhere."""
    ends = (record for one in looks for _, record in one.ends)
    return any(record.layer_gradient is not None for record in ends)


def constant_temperature(one: Diagnosed) -> str:
    """Return what to say of temperatures that are not drawn, or nothing."""
    same = [
        f"{formatting.number(record.temperature.low)} at the {name}"
        for name, record in one.ends
        if record.temperature.high <= record.temperature.low
    ]
    return f"All kept tokens have one temperature: {', '.join(same)}." if same else ""


def _columns(histogram: Histogram, css: str, what: str) -> tuple[Column, ...]:
    """Return the bins as shares of the values."""
    total = sum(histogram.counts) or 1
    width = (histogram.high - histogram.low) / len(histogram.counts) or 1.0
    start = histogram.low if histogram.high > histogram.low else histogram.low - width / 2
    columns = []
    for number, count in enumerate(histogram.counts):
        left, right = start + number * width, start + (number + 1) * width
        label = f"{what}: {formatting.percent(count / total, 1)} at {formatting.number(left)}"
        label += f" to {formatting.number(right)}"
        columns.append(Column(css, label, left, right, count / total))
    return tuple(columns)


def _gradient(title: str, gradient: Mapping[Third, GroupGradient]) -> Picture:
    """Return the bars of the three groups side by side, for each measure."""
    columns, names = [], {}
    for place, (field, measure) in enumerate(MEASURES.items()):
        names[place + 0.5] = measure
        for number, (group, css) in enumerate(GROUPS.items()):
            value = getattr(gradient[group], field)
            label = f"{group} tokens, {measure}: {formatting.number(value)}"
            left = place + 0.14 + 0.24 * number
            columns.append(Column(css, label, left, left + 0.22, value or 0.0))
    return Picture(title, "", tuple(columns), names)
