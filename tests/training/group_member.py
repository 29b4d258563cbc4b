"""Train cells of suites as one of several processes, in one group: to start one takes seconds.

Arguments: the number of this process, and a folder with ``work.json``: the number of processes, and
for each training a suite file, the folder of its run, the name of an arm, and the step that both
are killed after, if any. The result, ``NUMBER.pt``, has the record and the weights of each.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from adakd.config.loading import load_suite
from adakd.planning import plan
from adakd.training import fitting
from adakd.training.context import RunContext
from adakd.training.process_group import meet
from adakd.training.sequences import TrainingData
from adakd.training.teacher_states import TeacherStates


class Killed(Exception):
    """As SIGKILL, in all processes at once."""


def trained(suite: str, folder: str, arm: str, killed: int | None) -> Any:
    """Return a training's record and the weights that this process has; None if it is killed."""
    planned = plan(load_suite(suite))
    data = TrainingData(RunContext(planned, Path(folder)))
    one = next(one for one in planned.assignments if (one.cell.divergence and one.cell.arm == arm))
    models: list[Any] = []
    real = fitting._fit

    def fit(trainer: Any, *rest: Any) -> Any:
        models.append(trainer.model)
        return real(trainer, *rest)

    def on_step(done: int) -> None:
        if done == killed:
            raise Killed

    fitting._fit = fit
    try:
        record = fitting.train(data.resolve(one), data, TeacherStates(data), on_step)
    except Killed:
        return None
    finally:
        fitting._fit = real
    return record.model_dump_json(), dict(models[0].state_dict())


def main() -> None:
    """Do all trainings."""
    number, folder = int(sys.argv[1]), Path(sys.argv[2])
    work = json.loads((folder / "work.json").read_text())
    meet(number, work["devices"], 1, folder / "meeting")
    torch.save([trained(*one) for one in work["trainings"]], folder / f"{number}.pt")


if __name__ == "__main__":
    main()
