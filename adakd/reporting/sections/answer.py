"""The answer to the suite's question: is an adaptive arm better than the plain one?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adakd.reporting.charts import Axis, axis_over
from adakd.reporting.families import arm_differences
from adakd.reporting.headline import headlines
from adakd.reporting.heat import MANY, HeatTable, halves, heat_by_arm, heat_by_task
from adakd.reporting.index import Gap
from adakd.reporting.judges.rates import verdict_lines
from adakd.reporting.paired import PairedDifference
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.controls import controls
from adakd.reporting.sections.overhead import overheads
from adakd.reporting.sections.scores import instruction_sets, other_tasks
from adakd.reporting.wording import listed
from adakd.stats import SeedNoise, sign_flip_floor
from adakd.store.records import RunRecord

ROOMY = 8
"""Most rows whose figures all stand on the first screen; of more, the forest plot alone."""


@dataclass(frozen=True)
class UnitGroup:
    """The rows of all tasks with one unit, which share an axis."""

    unit: str
    by_task: tuple[tuple[str, tuple[PairedDifference, ...]], ...]
    paired: str
    """The seeds that the differences are paired over."""

    @property
    def rows(self) -> tuple[PairedDifference, ...]:
        """The rows of all tasks."""
        return tuple(row for _, rows in self.by_task for row in rows)

    @property
    def axis(self) -> Axis:
        """The axis of the rows."""
        return difference_axis(self.rows)

    @property
    def heat(self) -> HeatTable | None:
        """The rows as a heat table where they are too many for a forest plot."""
        return heat_by_task(self.rows) if len(self.rows) > MANY else None


@dataclass(frozen=True)
class Answer:
    """The pooled differences, those of single tasks, and the sentences that sum them up."""

    headlines: tuple[str, ...]
    controls: str
    """The sentence on the run's controls; empty where it has none."""
    verdict_lines: tuple[tuple[str, bool], ...]
    """One line for each judge's win rates, and whether the judge can be trusted."""
    gaps: tuple[Gap, ...]
    overall: tuple[PairedDifference, ...]
    questions: tuple[tuple[str, int], ...]
    """The families of the pooled differences, with the count of their comparisons."""
    questions_of_tasks: tuple[tuple[str, int], ...]
    paired: str
    """The seeds that the pooled differences are paired over."""
    noise: SeedNoise | None
    """The distance of two plain runs that differ in their training seed only."""
    floor: float
    """Least p-value that a sign-flip test on the training seeds alone could give."""
    own_constants: tuple[str, ...]
    units: tuple[UnitGroup, ...]

    @property
    def axis(self) -> Axis:
        """The axis of the pooled rows."""
        return difference_axis(self.overall)

    @property
    def is_dense(self) -> bool:
        """Whether the rows are too many for a table that shows every figure at once."""
        return len(self.overall) > ROOMY

    @property
    def columns(self) -> tuple[tuple[PairedDifference, ...], ...]:
        """The rows of a dense forest plot in two columns."""
        return halves(self.overall)

    @property
    def heat(self) -> HeatTable | None:
        """The pooled rows as a heat table where they are too many for a forest plot."""
        return heat_by_arm(self.overall) if len(self.overall) > MANY else None


def answer(context: Context) -> Answer:
    """Compare every adaptive arm with its plain arm."""
    found, index = context.once(arm_differences), context.index
    sets, others = context.once(instruction_sets), context.once(other_tasks)
    checked = context.once(controls)
    return Answer(
        headlines=tuple(headlines(found.overall, context.once(overheads))),
        controls=checked.sentence if checked else "",
        verdict_lines=tuple(verdict_lines(context)),
        gaps=index.gaps(),
        overall=found.overall,
        questions=tuple((family.question, family.size) for family in found.families),
        questions_of_tasks=tuple((f.question, f.size) for f in found.families_of_tasks),
        paired=sets.paired,
        noise=found.noise,
        floor=sign_flip_floor(len(index.seeds)),
        own_constants=tuple(own_constants(index.run)),
        units=tuple(
            UnitGroup(unit, by_task, (sets if unit in sets.units else others).paired)
            for unit, by_task in by_unit(found.tasks)
        ),
    )


def own_constants(run: RunRecord | None) -> Iterator[str]:
    """Name the settings whose values come from no paper, and the arms that have them."""
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for part in run.parts if run else ():
        if part.ours:
            alike.setdefault((part.name, part.ours), []).append(part.of)
    for (name, names), rows in alike.items():
        values = "value" if len(names) == 1 else "values"
        verb = "is" if len(names) == 1 else "are"
        yield (
            f"{listed(rows)}: the {values} of {name}'s {listed(names)} {verb} adakd's own choice, "
            "not taken from a paper; results may depend on it."
        )
    fields = run.suite.get("ours", ()) if run else ()
    if fields:
        verb = "is" if len(fields) == 1 else "are"
        yield (
            f"{listed(fields)} of the suite {verb} adakd's own choice, given by no source; results "
            "may depend on it."
        )


def by_unit(
    rows: Sequence[PairedDifference],
) -> Iterator[tuple[str, tuple[tuple[str, tuple[PairedDifference, ...]], ...]]]:
    """Group the rows of single tasks by unit and task, in the suite's order."""
    groups: dict[str, dict[str, list[PairedDifference]]] = {}
    for row in rows:
        groups.setdefault(row.unit, {}).setdefault(str(row.task), []).append(row)
    for unit, by_task in groups.items():
        yield unit, tuple((task, tuple(of_task)) for task, of_task in by_task.items())


def difference_axis(rows: Sequence[PairedDifference]) -> Axis:
    """Return the axis that the rows of a forest plot share.

    It shows every estimate, and intervals and bands up to a length that leaves the estimates
    readable.
    """
    found = [row.difference for row in rows if row.difference]
    values = [d.estimate for d in found] + [value for row in rows for value in row.by_seed]
    reach = max(4 * max(map(abs, values), default=0), *(d.se_items for d in found), 0)
    ends = [end for d in found for end in (d.low, d.high)]
    ends += [end for row in rows if row.band for end in (-row.band, row.band)]
    return axis_over([*values, *(min(max(end, -reach), reach) for end in ends)], include=0.0)
