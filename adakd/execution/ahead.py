"""What is left of a run that goes on, and how long that takes at its own speed. Needs no torch."""

import time
from collections import Counter
from collections.abc import Callable, Iterable

from adakd.execution.speeds import Rates
from adakd.planning import Plan
from adakd.planning.quantities import counted, duration
from adakd.planning.units import Kind, Unit
from adakd.store import Store

_NAMES: dict[Kind, str] = {
    "teacher": "teacher",
    "teaching": "reading with the teacher",
    "student": "student",
    "score": "scoring",
    "timing": "timing",
}


class Ahead:
    """Counts the units that are left, and estimates their time by those that this start has done.

    Seconds of a step by role and of a model's answers by task, as in the records, times the work
    that is left; then by how much longer or, with several workers, shorter the start took in all
    than its units by themselves. Timings are left out of the estimate: they are short.

    Args:
        plan: of the run.
        store: gets the records of the units.
        units: those that are left.
        clock: returns seconds.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        units: Iterable[Unit],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._rates = plan, Rates(store, recorded=False)
        self._clock, self._start = clock, clock()
        self._left, self._steps, self._answers = Counter[Kind](), Counter[str](), Counter[str]()
        self._is_known = True
        """Whether the steps of all trainings are known."""
        for unit in units:
            self._count(unit, 1)
        self._of_start = Counter(self._left)
        self._spent = 0.0
        """Seconds of the units that this start has done, each by itself."""

    def _count(self, unit: Unit, sign: int) -> None:
        self._left[unit.kind] += sign
        if unit.kind in ("teacher", "student") and unit.assignment is not None:
            steps, _ = self._plan.length(unit.assignment)
            self._is_known &= steps is not None
            self._steps[unit.cell.role] += sign * (steps or 0)
        for task in {job.answers: job.task for job in unit.jobs}.values():
            self._answers[task] += sign

    def finish(self, unit: Unit) -> None:
        """Take note that a unit is done, its records in the store."""
        self._count(unit, -1)
        self._spent += self._rates.note(unit)

    @property
    def seconds(self) -> float | None:
        """About how long the rest takes; None where nothing like a part of it is done yet."""
        if not self._is_known or not self._spent:
            return None
        parts = [(count, self._step(role)) for role, count in self._steps.items()]
        parts += [
            (count, self._rates.score(task)) for task, count in self._answers.items() if count
        ]
        total = 0.0
        for count, seconds in parts:
            if count and seconds is None:
                return None
            total += count * (seconds or 0.0)
        return total * (self._clock() - self._start) / self._spent

    def _step(self, role: str) -> float | None:
        """Return the seconds of a step; of students of a new role, those of the slowest others."""
        own = self._rates.step(role)
        if own is not None or role == "teacher":
            return own
        others = (self._rates.step(other) for other in self._steps if other != "teacher")
        return max((seconds for seconds in others if seconds is not None), default=None)

    def __str__(self) -> str:
        """Return one line; empty where nothing is left."""
        told = [
            f"{counted(self._left[kind], name)} of {self._of_start[kind]:,}"
            for kind, name in _NAMES.items()
            if self._left[kind]
        ]
        if not told:
            return ""
        seconds = self.seconds
        time_left = "" if seconds is None else f"; about {duration(seconds)}"
        return f"left: {', '.join(told)}{time_left}"
