"""Trainings: steps, time, rows and parameters of every method that was trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from adakd.reporting.index import Method
from adakd.reporting.sections.base import Context
from adakd.store.records import BridgeUse, TrainingRecord


@dataclass(frozen=True)
class TrainedMethod:
    """The trainings of one method; those that failed count in `failed` only."""

    method: Method
    done: int
    failed: int
    steps: int
    seconds: float
    """Wall-clock seconds of one training, median over seeds; not interleaved, so not comparable."""
    rows: int
    left_out: int
    """Rows that the filters of the data removed."""
    overlap_left_out: int
    """Rows that equal an evaluation item and were left out."""
    overlap_kept: int
    """Rows that equal an evaluation item and were trained on."""
    trainable: int
    parameters: int
    bridge: BridgeUse | None
    """How much was compared across two tokenizers, masses as means over seeds; None where they
    share one."""


@dataclass(frozen=True)
class Trainings:
    """The trainings of all methods; a model that no step trained has none."""

    rows: tuple[TrainedMethod, ...]

    @property
    def overlap_left_out(self) -> int:
        """Training rows that equal an evaluation item and were left out."""
        return max(row.overlap_left_out for row in self.rows)

    @property
    def bridged(self) -> tuple[tuple[TrainedMethod, BridgeUse], ...]:
        """The methods that learned from a teacher with another tokenizer."""
        return tuple((row, row.bridge) for row in self.rows if row.bridge is not None)


def trainings(context: Context) -> Trainings | None:
    """Describe the trainings of every method; None where nothing was trained."""
    index = context.index
    by_method = {
        method: [
            index.trainings[method, s] for s in index.all_seeds if (method, s) in index.trainings
        ]
        for method in index.methods
    }
    rows = tuple(
        _trained(method, records)
        for method, records in by_method.items()
        if any(record.steps or record.status == "failed" for record in records)
    )
    return Trainings(rows) if rows else None


def _trained(method: Method, records: Sequence[TrainingRecord]) -> TrainedMethod:
    done = [record for record in records if record.status == "done"]
    last = (done or records)[-1]
    return TrainedMethod(
        method=method,
        done=len(done),
        failed=len(records) - len(done),
        steps=last.steps[-1].step if last.steps else 0,
        seconds=median(record.seconds for record in done or records),
        rows=last.rows,
        left_out=last.left_out,
        overlap_left_out=last.overlap_left_out,
        overlap_kept=last.overlap_kept,
        trainable=last.trainable,
        parameters=last.parameters,
        bridge=_use([record.bridge for record in done or records if record.bridge is not None]),
    )


def _use(uses: Sequence[BridgeUse]) -> BridgeUse | None:
    """Return what all seeds compare, with the means of the masses, which depend on the seed."""
    if not uses:
        return None
    mass = _mean([use.mass for use in uses])
    teacher_mass = _mean([use.teacher_mass for use in uses])
    return uses[-1].model_copy(update={"mass": mass, "teacher_mass": teacher_mass})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
