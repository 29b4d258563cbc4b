"""Train the adaptive student of a suite as one of several processes.

Arguments: the suite, a folder, and the file for the result, which the first process writes. The
environment says which process this is, as torchrun sets it.
"""

import sys
from pathlib import Path

import torch

from adakd.config.loading import load_suite
from adakd.planning import PLAIN, plan
from adakd.training.context import RunContext
from adakd.training.fitting import train
from adakd.training.sequences import TrainingData
from adakd.training.teacher_states import TeacherStates


def main() -> None:
    suite, folder, result = sys.argv[1:]
    torch.distributed.init_process_group("gloo")
    planned = plan(load_suite(suite))
    data = TrainingData(RunContext(planned, Path(folder)))
    one = next(one for one in planned.assignments if one.cell.arm != PLAIN)
    record = train(data.resolve(one), data, TeacherStates(data))
    if torch.distributed.get_rank() == 0:
        weights = dict(data.context.load(data.resolve(one)).state_dict())
        torch.save({"record": record.model_dump_json(), "weights": weights}, result)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
