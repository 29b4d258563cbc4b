"""A single unit of a run, without an engine."""

from pathlib import Path

from adakd.errors import AdakdError
from adakd.execution.remaining import check_teacher, is_done, is_void
from adakd.execution.workers import Worker, known
from adakd.planning import Plan
from adakd.planning.units import Unit
from adakd.progress import Progress
from adakd.store.unit_files import Joined, claimed, finished, unit_store
from adakd.training.context import RunContext


def do_alone(plan: Plan, unit: Unit, folder: Path, progress: Progress) -> bool:
    """Do one unit, its records in its own folder; return whether there was something to do.

    Raises:
        AdakdError: a unit that it needs is not done, or another process is at it.
    """
    with claimed(folder, unit.key, unit.title):
        own = unit_store(folder, unit.key)
        records = Joined((own, finished(folder, unit.needs)))
        check_teacher(plan, records)
        if missing := [need for need in unit.needs if need not in records]:
            raise AdakdError(
                f"{unit.title}: needs {', '.join(missing)}, not done yet: do that first, by "
                f"`adakd work {folder} --unit {missing[0]}`"
            )
        if is_done(unit, records) or is_void(unit, records):
            return False
        worker = Worker(RunContext(plan, folder))
        worker.do(unit, known(unit, plan, records), own.add, progress)
    return True
