"""Plan -> units: the pieces of work that one process does at a time, and what each needs before.

Judging and the report are no units: whoever owns the records does them in the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from adakd.config import Needs
from adakd.config.hashing import digest
from adakd.planning.assignments import Assignment
from adakd.planning.cells import PLAIN, Cell, Job, Role
from adakd.planning.keys import timing_key
from adakd.planning.plans import Plan

Kind = Literal["teacher", "teaching", "student", "score", "timing"]
"""``teacher``: its training. ``teaching``: the teacher's outputs for all students that learn from
stored ones. ``student``, ``score``: training and scoring a cell; the teacher is scored too.
``timing``: measuring the overhead of an adaptive arm under a divergence."""
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which units should start where several could."""
NOT_OURS: tuple[Role, ...] = ("teacher", "elsewhere")
"""Roles of models that are not made from the suite's student."""
Twins = tuple[Assignment, Assignment]
"""A plain arm and its adaptive twin."""


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Args:
        kind: what is done.
        key: of a cell for its training, of its record for a teaching or a timing.
        title: what progress calls it.
        needs: keys of the units that must be done before.
        takes: what it takes from a machine; in no key.
        assignment: the cell that is trained or scored.
        jobs: of a scoring: all of the cell's.
        twins: of a timing: the pairs that it may measure, the first that has not failed.
    """

    kind: Kind
    key: str
    title: str
    needs: tuple[str, ...]
    takes: Needs
    assignment: Assignment | None = None
    jobs: tuple[Job, ...] = ()
    twins: tuple[Twins, ...] = ()

    @property
    def cell(self) -> Cell:
        """The cell that is trained or scored."""
        assert self.assignment is not None
        return self.assignment.cell

    @property
    def devices(self) -> int:
        """The devices that do it together: of a training ``devices``, of all else one."""
        if self.kind not in ("teacher", "student") or self.assignment is None:
            return 1
        training = self.assignment.training
        return 1 if training is None else training.devices


def units(plan: Plan) -> tuple[Unit, ...]:
    """Return all units of a plan in the order in which one process does them.

    That order is one of the graph: no unit comes before one that it needs.
    """
    return (*_of_cells(plan), *_timings(plan))


def _of_cells(plan: Plan) -> Iterator[Unit]:
    """Yield the trainings and scorings, and the teacher's outputs before the first that needs them.

    A pruned student is made from the trained teacher, whatever it learns from.
    """
    teacher, takes, taught = plan.teacher.cell.key, plan.suite.resources, False
    for one in plan.assignments:
        cell, needs = one.cell, list[str]()
        is_pruned = plan.suite.student.kind == "pruned" and cell.role not in NOT_OURS
        if is_pruned or cell.has_teacher:
            needs.append(teacher)
        if learns_from_stored(one):
            if not taught:
                key, title = plan.teacher_states_key, "read with the teacher"
                yield Unit("teaching", key, title, (teacher,), takes.teaching)
            taught = True
            needs.append(plan.teacher_states_key)
        is_teacher = cell.role == "teacher"
        kind: Kind = "teacher" if is_teacher else "student"
        share = takes.teacher if is_teacher else takes.student
        yield Unit(kind, cell.key, f"train {cell}", tuple(needs), share, one)
        if jobs := plan.jobs_of(cell):
            needs = [cell.key, *([teacher] if is_pruned else [])]
            yield Unit(
                "score",
                score_key(cell),
                f"score {cell}",
                tuple(needs),
                takes.score,
                one,
                jobs=jobs,
            )


def learns_from_stored(assignment: Assignment) -> bool:
    """Return whether a training reads outputs that the teacher gives before any training."""
    return assignment.cell.has_teacher and not assignment.generates


def score_key(cell: Cell) -> str:
    """Return the key of the unit that scores a cell."""
    return digest("score", cell.key)


def _timings(plan: Plan) -> Iterator[Unit]:
    """Yield one overhead measurement for each divergence and adaptive arm."""
    suite, timed = plan.suite, dict[tuple[str | None, str], list[Twins]]()
    for pair in twins(plan) if suite.timing.pairs else ():
        cell = pair[1].cell
        timed.setdefault((cell.divergence, cell.arm), []).append(pair)
    for pairs in timed.values():
        first = pairs[0][1]
        needs = dict.fromkeys(one.cell.key for pair in pairs for one in pair)
        if learns_from_stored(first):
            needs[plan.teacher_states_key] = None
        yield Unit(
            "timing",
            timing_key(first.recipe, suite.timing),
            f"time {first.cell.method}",
            (plan.teacher.cell.key, *needs),
            suite.resources.timing,
            twins=tuple(pairs),
        )


def twins(plan: Plan) -> list[Twins]:
    """Return each adaptive assignment of a plan with its plain twin."""
    distilled = [one for one in plan.assignments if one.cell.role == "distilled"]
    plain = {
        (one.cell.divergence, one.cell.seed): one for one in distilled if one.cell.arm == PLAIN
    }
    return [
        (plain[one.cell.divergence, one.cell.seed], one)
        for one in distilled
        if one.cell.arm != PLAIN
    ]
