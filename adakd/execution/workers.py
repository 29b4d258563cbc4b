"""Do single units: what every engine has in common."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch

from adakd.errors import AdakdError
from adakd.evaluation.answer_scores import stored_answer_scores
from adakd.evaluation.harness import Harness, score, together
from adakd.evaluation.serving import answers_of
from adakd.models.loading import place
from adakd.planning import Job, Plan
from adakd.planning.units import Unit
from adakd.progress import Progress, Show
from adakd.store.records import ScoreRecord, TeacherStatesRecord, TrainingRecord
from adakd.store.unit_files import Finished, unit_store
from adakd.training.context import RunContext
from adakd.training.fitting import train
from adakd.training.overhead import measure_overhead
from adakd.training.process_group import Listener, SharedTraining, train_together
from adakd.training.sequences import TrainingData
from adakd.training.teacher_states import TeacherStates

TASKS = "tasks"
"""Folder of the lm-eval tasks that are written for a run."""
TEACHER_TASKS = "teacher-tasks"
"""The same in the prompts of a teacher with another tokenizer."""
SERVED = "served"
"""Folder, in that of a unit, of the copy of a model that a server reads."""
Keep = Callable[..., None]
"""Records its arguments; on return they are on the disk."""


@dataclass(frozen=True)
class Known:
    """The finished work that a unit builds on."""

    saved: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The hashes of the files of finished models, by the keys of their cells."""
    teaching: TeacherStatesRecord | None = None
    done: frozenset[str] = frozenset()
    """Keys of the jobs of this unit that have a score."""
    answered: tuple[ScoreRecord, ...] = ()
    """Scores of other metrics with the texts of answers that this unit scores."""


def known(unit: Unit, plan: Plan, records: Finished) -> Known:
    """Look up the finished work that a unit builds on."""
    one = unit.assignment
    cells = [plan.teacher.cell, *([one.cell] if one else [])]
    cells += [of.cell for pair in unit.twins for of in pair]
    trainings = [made for cell in cells if (made := records.get(TrainingRecord, cell.key))]
    done = frozenset(job.key for job in unit.jobs if job.key in records)
    groups = dict.fromkeys(job.answers for job in unit.jobs if job.key not in done)
    return Known(
        saved={made.key: made.files for made in trainings if made.status == "done"},
        teaching=records.get(TeacherStatesRecord, plan.teacher_states_key),
        done=done,
        answered=tuple(score for key in groups if (score := records.answered(key))),
    )


class Worker:
    """Does units, one at a time; tokenizer, data and teacher are kept from one to the next."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.data = TrainingData(context)
        self.teacher = TeacherStates(self.data)

    def do(self, unit: Unit, known: Known, keep: Keep, progress: Progress) -> None:
        """Do a unit.

        Args:
            unit: one whose needs are done.
            known: the finished work that it builds on.
            keep: called with records as soon as they are complete.
            progress: receives its stages.

        Raises:
            AdakdError: a model cannot be loaded, the disk is full, or something else that the
                user can fix.
        """
        self.context.saved |= known.saved
        with threads_of(unit.takes.cpus):
            if unit.kind == "teaching":
                self._teach(unit, known, keep, progress)
            elif unit.kind == "score":
                self._score(unit, known, keep, progress)
            elif unit.kind == "timing":
                self._time(unit, known, keep, progress)
            else:
                self._train(unit, known, keep, progress)

    def _train(self, unit: Unit, known: Known, keep: Keep, progress: Progress) -> None:
        assert unit.assignment is not None
        cell, resolved = unit.cell, self.data.resolve(unit.assignment)
        if cell.has_teacher:
            self.teacher.prepare(resolved, known.teaching, progress)
        before = known.saved.get(cell.key)

        def finish(record: TrainingRecord) -> None:
            if before and before != record.files:
                raise AdakdError(
                    f"{cell}: trained again, its model is not the one that earlier results are of, "
                    "as on another machine: restore it from a copy, or choose another --out folder"
                )
            keep(record)

        with progress.stage(unit.title, resolved.steps) as show:
            listener = Listener(show, keep, progress.note, finish)
            if unit.devices == 1:
                record = train(resolved, self.data, self.teacher, *listener)
            else:
                record = train_together(self._shared(unit, known), listener)
                self.context.saved[cell.key] = record.files
        if record.reason:
            progress.note(f"failed {cell}: {record.reason}", "red")

    def _shared(self, unit: Unit, known: Known) -> SharedTraining:
        """Return a training for several processes."""
        assert unit.assignment is not None
        context = self.context
        saved, teaching = dict(context.saved), known.teaching
        return SharedTraining(context.plan, context.folder, unit.assignment, saved, teaching)

    def _teach(self, unit: Unit, known: Known, keep: Keep, progress: Progress) -> None:
        """Generate the responses and compute the states that all students need."""
        reader = next(one for one in self.data.distilled if not one.generates)
        seconds = self.teacher.prepare(reader, known.teaching, progress)
        keep(self.teacher.record(seconds))

    def _score(self, unit: Unit, known: Known, keep: Keep, progress: Progress) -> None:
        assert unit.assignment is not None
        context, suite = self.context, self.context.suite
        groups: dict[str, list[Job]] = {}
        for job in unit.jobs:
            if job.key not in known.done:
                groups.setdefault(job.answers, []).append(job)
        for stored in known.answered:  # a metric that was added to a run costs no generation
            keep(*stored_answer_scores(groups.pop(stored.answers), stored, suite))
        if not groups:
            return
        tokenizer = context.tokenizer_of(unit.cell)
        apart = unit.cell.role == "teacher" and context.translation is not None
        tasks = context.folder / (TEACHER_TASKS if apart else TASKS)
        served = unit_store(context.folder, unit.key).folder / SERVED
        with (
            progress.stage(unit.title, len(groups)) as show,
            answers_of(suite.evaluation.engine, tokenizer, served) as answers,
        ):
            model = place(context.load(unit.assignment))
            harness = Harness(model, tokenizer, suite, answers)
            done = 0
            for some in together(groups.values(), suite, tasks):
                show_share = partial(_show_share, show, done, len(some))
                keep(*score(harness, some, suite, tasks, show_share))
                done += len(some)

    def _time(self, unit: Unit, known: Known, keep: Keep, progress: Progress) -> None:
        """Measure the overhead on the first pair that has not failed."""
        timing = self.context.suite.timing
        pair = next(pair for pair in unit.twins if all(of.cell.key in known.saved for of in pair))
        plain, adaptive = map(self.data.resolve, pair)
        self.teacher.prepare(plain, known.teaching, progress)
        with progress.stage(unit.title, timing.warmup + timing.pairs) as show:
            keep(measure_overhead(plain, adaptive, self.data, self.teacher, show))


def _show_share(show: Show, before: int, groups: int, share: float) -> None:
    show(before + groups * share)


@contextmanager
def threads_of(count: int | None) -> Iterator[None]:
    """Let PyTorch use so many threads in the block; as many as before if None."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
