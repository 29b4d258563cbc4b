"""Results of ``adakd bench`` on this machine, for the page and for the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table

from adakd.benchmarks.results import FILE, Bench, Line, read_bench
from adakd.console import shown
from adakd.reporting.formatting import FEW, counted, number, percent
from adakd.reporting.sections.base import Context

BUSY = 0.05
"""Share of the cores above which other programs disturb a measurement."""
_TIMES = "times "


@dataclass(frozen=True)
class Row:
    """One measured value."""

    line: Line

    @property
    def measured(self) -> str:
        """The value with its unit, such as ``6.1× faster``."""
        unit = self.line.measure.removeprefix(_TIMES)
        sign = "×" if unit != self.line.measure else ""
        return f"{number(self.line.value, _digits(self.line.value))}{sign} {unit}"

    @property
    def goal(self) -> str:
        """The goal, such as ``≥ 5``, or an empty string."""
        if self.line.goal is None:
            return ""
        return f"{'≥' if self.line.more_is_better else '≤'} {self.line.goal:g}"


@dataclass(frozen=True)
class Group:
    """The values of one group of benchmarks."""

    name: str
    rows: tuple[Row, ...]

    @property
    def is_short(self) -> bool:
        """Whether the page shows the rows unfolded."""
        return len(self.rows) <= FEW

    @property
    def summary(self) -> str:
        """The number of goals that are met."""
        met = [row.line.met for row in self.rows if row.line.goal is not None]
        return f"{sum(map(bool, met))} of {counted(len(met), 'goal')} met" if met else "no goal"


@dataclass(frozen=True)
class Benchmarks:
    """The benchmarks of a run folder."""

    machine: str
    """Processor, cores, memory and, where there is one, GPU."""
    versions: str
    when: str
    commit: str | None
    groups: tuple[Group, ...]
    met: int
    goals: int
    """Values that have a goal."""
    failed: tuple[str, ...]
    warning: str
    """Why the measurements are not reliable, or an empty string."""


def benchmarks(context: Context) -> Benchmarks | None:
    """Return the results in ``bench.json`` of the run folder, if there are any.

    Raises:
        AdakdError: the file is not a result of ``adakd bench``.
    """
    found = read_bench(context.store.folder / FILE)
    if found is None:
        return None
    lines = [line for case in found.benchmarks for line in case.extra_info.rows]
    machine, versions = found.machine_info, found.versions
    cores = f"{machine['cores']} cores" if "cores" in machine else None
    parts = [machine.get("gpu"), machine.get("processor"), cores, machine.get("memory")]
    named = [f"{name} {versions[name]}" for name in ("adakd", "torch") if name in versions]
    return Benchmarks(
        machine=", ".join(part for part in parts if part),
        versions=", ".join(named),
        when=found.datetime[:10],
        commit=found.commit,
        groups=tuple(_groups(found)),
        met=sum(line.met is True for line in lines),
        goals=sum(line.goal is not None for line in lines),
        failed=found.failed,
        warning=warning(found),
    )


def warning(found: Bench) -> str:
    """Return why the measurements are not reliable: the load by other programs."""
    if found.others is None or found.others <= BUSY:
        return ""
    return (
        f"Other programs took {percent(found.others)} of the processor during the measurement, "
        "and a part of its caches: measure again on a quiet machine."
    )


def _groups(found: Bench) -> Iterator[Group]:
    groups: dict[str, list[Line]] = {}
    for case in found.benchmarks:
        groups.setdefault(case.group or "", []).extend(case.extra_info.rows)
    yield from (Group(name, tuple(map(Row, lines))) for name, lines in groups.items())


def _digits(value: float) -> int:
    return 1 if abs(value) >= 10 else 2


def bench_table(found: Bench) -> Table:
    """Return the results of the benchmarks as a table for the terminal."""
    table = Table("benchmark", "against", "measured", "goal", "")
    marks = {True: shown("met", "green"), False: shown("missed", "red"), None: shown("")}
    for group in _groups(found):
        for row in group.rows:
            texts = (row.line.what, row.line.reference, row.measured, row.goal)
            table.add_row(*map(shown, texts), marks[row.line.met])
        table.add_section()
    caption = "processor time on one thread, both sides interleaved, medians"
    table.caption = shown("\n".join(filter(None, (caption, warning(found)))))
    return table
