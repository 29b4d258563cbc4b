"""What is left of a run that goes on, and how long that takes at its own speed. Needs no torch."""

import time
from collections import Counter
from collections.abc import Callable, Iterable

from adakd.execution.speeds import Rates, Work
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

    The work that is left at their pace, times by how much longer or, with several workers, shorter
    the start took in all than its units by themselves. Timings are left out: they are short.

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
        self._left, self._work = Counter[Kind](), Work()
        for unit in units:
            self._count(unit, 1)
        self._of_start = Counter(self._left)
        self._spent = 0.0
        """Seconds of the units that this start has done, each by itself."""

    def _count(self, unit: Unit, sign: int) -> None:
        self._left[unit.kind] += sign
        if unit.kind in ("teacher", "student") and unit.assignment is not None:
            self._work.train(unit.cell.role, self._plan.length(unit.assignment)[0], sign)
        self._work.score(unit.jobs, sign)

    def finish(self, unit: Unit) -> None:
        """Take note that a unit is done, its records in the store."""
        self._count(unit, -1)
        self._spent += self._rates.note(unit)

    @property
    def seconds(self) -> float | None:
        """About how long the rest takes; None where nothing like a part of it is done yet."""
        alone = self._work.seconds(self._rates) if self._spent else None
        return alone and alone * (self._clock() - self._start) / self._spent

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
