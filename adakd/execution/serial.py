"""One process does all units, one after another, in the order of the plan."""

import torch

from adakd.execution.owner import Owner
from adakd.execution.workers import Worker, known
from adakd.progress import Progress
from adakd.store.unit_files import claimed


class InThisProcess:
    """The engine where no other is asked for."""

    @property
    def threads(self) -> int:
        """Threads of PyTorch in a unit whose ``cpus`` the suite leaves open."""
        return torch.get_num_threads()

    def __call__(self, owner: Owner, progress: Progress) -> None:
        """Do all units of a run that are left, by the models of `owner`.

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
