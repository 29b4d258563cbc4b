"""One process does all units, one after another, in the order of the plan."""

from adakd.execution.owner import Owner
from adakd.execution.workers import Worker, known
from adakd.progress import Progress
from adakd.store.unit_files import claimed


def in_this_process(owner: Owner, progress: Progress) -> None:
    """Do all units of a run that are left.

    Args:
        owner: hands them out; its models are used.
        progress: receives every stage.

    Raises:
        AdakdError: bad input, or another process at work on a unit.
    """
    worker = Worker(owner.context)
    while owner.ready:
        unit = owner.ready.pop(0)
        with claimed(owner.folder, unit.key, unit.title):
            builds_on = known(unit, owner.plan, owner.store)
            worker.do(unit, builds_on, owner.store.add, progress)
        owner.finish(unit)
