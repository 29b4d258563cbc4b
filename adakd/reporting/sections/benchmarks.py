"""What the benchmarks measured on this machine, as the page and the terminal show it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from adakd.benchmarks.results import FILE, Bench, Line, read_bench
from adakd.reporting.formatting import FEW, counted, number, percent

BUSY = 0.05
"""Share of the cores from which on other programs disturb a measurement."""
_TIMES = "times "


@dataclass(frozen=True)
class Group:
    """The lines of one group of benchmarks."""

    name: str
    lines: tuple[Line, ...]

    @property
    def is_short(self) -> bool:
        """Whether the page shows the lines at once."""
        return len(self.lines) <= FEW


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
    """Lines that have a goal."""
    failed: tuple[str, ...]
    warning: str
    """Why the figures are not to be trusted; empty where nothing speaks against them."""


def benchmarks(folder: Path) -> Benchmarks | None:
    """Return what ``bench.json`` of a run folder says; None where there is none.

    Raises:
        AdakdError: it says something else.
    """
    found = read_bench(folder / FILE)
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
    """Return what speaks against the figures: other programs that were at work."""
    if found.others is None or found.others <= BUSY:
        return ""
    return (
        f"Other programs took {percent(found.others)} of the processor meanwhile, and with it of "
        "its caches: measure again on a quiet machine."
    )


def _groups(found: Bench) -> Iterator[Group]:
    groups: dict[str, list[Line]] = {}
    for case in found.benchmarks:
        groups.setdefault(case.group or "", []).extend(case.extra_info.rows)
    yield from (Group(name, tuple(lines)) for name, lines in groups.items())


def summary(group: Group) -> str:
    """Return how many goals of a group are met."""
    asked = [line.met for line in group.lines if line.goal is not None]
    return f"{sum(map(bool, asked))} of {counted(len(asked), 'goal')} met" if asked else "no goal"


def measured(line: Line) -> str:
    """Return a value with its unit, such as ``6.1× faster``."""
    unit = line.measure.removeprefix(_TIMES)
    sign = "×" if unit != line.measure else ""
    return f"{number(line.value, _digits(line.value))}{sign} {unit}"


def goal(line: Line) -> str:
    """Return the goal of a line, such as ``≥ 5``; empty where it has none."""
    if line.goal is None:
        return ""
    return f"{'≥' if line.more_is_better else '≤'} {line.goal:g}"


def _digits(value: float) -> int:
    return 1 if abs(value) >= 10 else 2


def bench_table(found: Bench) -> Table:
    """Return the lines of a run of the benchmarks as a table for the terminal."""
    table = Table("what", "against", "measured", "goal", "")
    marks = {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}
    for group in _groups(found):
        for line in group.lines:
            texts = (line.what, line.reference, measured(line), goal(line))
            table.add_row(*map(escape, texts), marks[line.met])
        table.add_section()
    caption = "times of the processor on one thread, both sides in turn, medians"
    table.caption = "\n".join(filter(None, (caption, warning(found))))
    return table
