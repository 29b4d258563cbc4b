"""The owner of a run: the one process that adds records to it, and knows which units are left."""

import shutil
from bisect import insort
from graphlib import TopologicalSorter
from pathlib import Path

from adakd.execution.ahead import Ahead
from adakd.execution.remaining import check_teacher, is_void, remaining
from adakd.planning import Plan
from adakd.planning.units import Unit, units
from adakd.progress import Progress
from adakd.store import Store
from adakd.training.context import RunContext


class Owner:
    """Hands out the units of a run that are ready, and takes note of those that are done.

    Args:
        plan: of the run.
        store: its records, which this process alone may add to.
        context: tells where the models are.
        progress: is told of models that are lost, and of what is left after each unit.

    Raises:
        AdakdError: the teacher's training has failed.
    """

    def __init__(self, plan: Plan, store: Store, context: RunContext, progress: Progress) -> None:
        self.plan, self.store, self.context, self.progress = plan, store, context, progress
        self._place = {unit.key: place for place, unit in enumerate(units(plan))}
        check_teacher(plan, store)
        left = remaining(plan, store, store.folder, progress.note)
        self.left = {unit.key: unit for unit in left}
        """The units that are not done, by their keys."""
        self.ready: list[Unit] = []
        """Those whose needs are done, in the order of the plan; engines take them out."""
        self._ahead = Ahead(plan, store, self.left.values())
        self._clear_checkpoints()
        self._graph = TopologicalSorter[str]()
        for unit in self.left.values():
            self._graph.add(unit.key, *(need for need in unit.needs if need in self.left))
        self._graph.prepare()
        self._admit()

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.store.folder

    def finish(self, unit: Unit) -> None:
        """Take note that a unit is done, its records in the store.

        Raises:
            AdakdError: it was the teacher's training, which failed.
        """
        if unit.kind == "teacher":
            check_teacher(self.plan, self.store)
        self._end(unit)
        self._admit()
        self.progress.ahead(str(self._ahead))

    def _end(self, unit: Unit) -> None:
        del self.left[unit.key]
        self._ahead.finish(unit)
        self._graph.done(unit.key)

    def _admit(self) -> None:
        """Find the units that are ready now; those that have nothing left to be done end here."""
        while found := self._graph.get_ready():
            for unit in map(self.left.__getitem__, found):
                if is_void(unit, self.store):
                    self._end(unit)
                else:
                    insort(self.ready, unit, key=lambda one: self._place[one.key])

    def _clear_checkpoints(self) -> None:
        """Remove checkpoints of trainings that are recorded: killed before they were removed."""
        for cell in self.plan.cells:
            checkpoints = self.context.checkpoints(cell)
            if cell.key not in self.left and checkpoints.exists():
                shutil.rmtree(checkpoints, ignore_errors=True)
