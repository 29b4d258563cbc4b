"""Provenance: command, versions, hardware and settings of the run, and its gaps."""

from dataclasses import dataclass

from adakd.reporting import formatting
from adakd.reporting.index import Gap
from adakd.reporting.sections.base import Context
from adakd.store.records import RunRecord, TeacherStatesRecord


@dataclass(frozen=True)
class Provenance:
    """The last start of the run, and the records that are missing or left out."""

    run: RunRecord | None
    starts: int
    """How often the command was started in this folder."""
    teacher: TeacherStatesRecord | None
    gaps: tuple[Gap, ...]
    superseded: int
    """Records of settings that were changed since."""

    @property
    def teacher_passes(self) -> str | None:
        """How often the teacher read the training data, in a sentence."""
        return teacher_passes(self.teacher) if self.teacher else None


def provenance(context: Context) -> Provenance:
    """Describe how the run was started."""
    store, index = context.store, context.index
    return Provenance(
        run=index.run,
        starts=len(store.of(RunRecord)),
        teacher=next(reversed(store.current(TeacherStatesRecord)), None),
        gaps=index.gaps(),
        superseded=index.superseded,
    )


def teacher_passes(record: TeacherStatesRecord) -> str:
    """Return how often the teacher read the sequences that the students learned from."""
    sequences, readings = (
        formatting.counted(count, "sequence") for count in (record.sequences, record.readings)
    )
    if record.cache == "off":
        return (
            f"reads every batch anew, since {record.reason}; all trainings together take {readings}"
        )
    labels, size = formatting.counted(record.tokens, "label"), formatting.size(record.size)
    return (
        f"read each of {sequences} once; all trainings on them together take {readings}. "
        f"Hidden states of {labels} are kept as {record.cache}, {size}"
    )
