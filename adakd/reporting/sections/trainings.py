"""What was trained: time, data and parameters of every method with a training of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from adakd.reporting.index import Index, Method
from adakd.store.records import TrainingRecord


@dataclass(frozen=True)
class Trained:
    """The trainings of one method; failed ones count in `failed` alone."""

    method: Method
    done: int
    failed: int
    steps: int
    seconds: float
    """Wall-clock seconds of one training, median over seeds; not measured side by side."""
    rows: int
    left_out: int
    """Rows that the filters left out."""
    trainable: int
    parameters: int


def trainings(index: Index) -> tuple[Trained, ...]:
    """Describe the trainings of every method that has any."""
    by_method = {
        method: [
            index.trainings[method, s] for s in index.all_seeds if (method, s) in index.trainings
        ]
        for method in index.methods
    }
    return tuple(_trained(method, records) for method, records in by_method.items() if records)


def _trained(method: Method, records: Sequence[TrainingRecord]) -> Trained:
    done = [record for record in records if record.status == "done"]
    last = (done or records)[-1]
    return Trained(
        method=method,
        done=len(done),
        failed=len(records) - len(done),
        steps=last.steps[-1].step if last.steps else 0,
        seconds=median(record.seconds for record in done or records),
        rows=last.rows,
        left_out=last.left_out,
        trainable=last.trainable,
        parameters=last.parameters,
    )
