"""Train cells of suites as one of several processes, in one group: to start one takes seconds.

Arguments: the number of this process, and a folder with ``work.json``: the number of processes, and
for each training a suite file, the folder of its run, the name of an arm, and the step that both
are killed after, if any. The result, ``NUMBER.pt``, has for each the record, the weights, the
shares of weights and of Adam's moments that this process holds, and the most decoder layers that
were whole at once in a forward pass.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from adakd.config.loading import load_suite
from adakd.models.loading import decoder_layers
from adakd.models.sharding import is_sharded
from adakd.planning import plan
from adakd.training import fitting
from adakd.training.context import RunContext
from adakd.training.process_group import meet
from adakd.training.sequences import TrainingData
from adakd.training.teacher_states import TeacherStates


class Killed(Exception):
    """As SIGKILL, in all processes at once."""


def trained(suite: str, folder: str, arm: str, killed: int | None) -> Any:
    """Return what is known of a training; None if it is killed."""
    planned = plan(load_suite(suite))
    data = TrainingData(RunContext(planned, Path(folder)))
    one = next(one for one in planned.assignments if (one.cell.divergence and one.cell.arm == arm))
    trainers: list[Any] = []
    together: list[int] = [0]
    real = fitting._fit

    def fit(trainer: Any, *rest: Any) -> Any:
        trainers.append(trainer)
        layers = decoder_layers(trainer.model, "here")

        def look(*_: Any) -> None:
            first = (next(layer.parameters()) for layer in layers)
            together.append(sum(not isinstance(one, DTensor) for one in first))

        for layer in layers if is_sharded(trainer.model) else ():
            layer.register_forward_pre_hook(look)
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
    weights = trainers[0].model.state_dict()
    states = trainers[0].optimizer.state_dict()["state"].values()
    moments = [of[name] for of in states for name in ("exp_avg", "exp_avg_sq")]
    whole = {
        name: own.full_tensor() if isinstance(own, DTensor) else own
        for name, own in weights.items()
    }
    shares = [share(list(trainers[0].model.parameters())), share(moments)]
    return record.model_dump_json(), whole, shares, max(together)


def share(tensors: list[Tensor]) -> float:
    """Return the share of the elements of some tensors that this process holds; 0 of none."""
    here = sum((one.to_local() if isinstance(one, DTensor) else one).numel() for one in tensors)
    return here / max(1, sum(one.numel() for one in tensors))


def main() -> None:
    """Do all trainings."""
    number, folder = int(sys.argv[1]), Path(sys.argv[2])
    work = json.loads((folder / "work.json").read_text())
    meet(number, work["devices"], 1, folder / "meeting")
    torch.save([trained(*one) for one in work["trainings"]], folder / f"{number}.pt")


if __name__ == "__main__":
    main()
