"""The whole flow on one screen: plan -> units -> judge -> report."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch

from adakd.data.overlap import described, unread_lines
from adakd.evaluation.lm_eval_tasks import check_task
from adakd.evaluation.tasks import write_tasks
from adakd.execution.checks import check_models
from adakd.execution.finished import conclude
from adakd.execution.owner import Owner
from adakd.execution.workers import TASKS, TEACHER_TASKS
from adakd.judging import Panel
from adakd.planning import Plan
from adakd.progress import Progress
from adakd.store import Store, locked
from adakd.store.provenance import run_record
from adakd.store.records import RunRecord, TrainingRecord
from adakd.store.unit_files import sweep
from adakd.training.context import RunContext
from adakd.training.sequences import TrainingData
from adakd.training.teacher_states import TeacherStates


class Engine(Protocol):
    """Does all units of a run that are left."""

    @property
    def threads(self) -> int:
        """Threads of PyTorch in a unit whose ``cpus`` the suite leaves open."""
        ...

    def __call__(self, owner: Owner, progress: Progress) -> None:
        """Do the units that `owner` hands out."""
        ...


def run_plan(
    plan: Plan, folder: Path, panel: Panel | None, engine: Engine, progress: Progress
) -> Path:
    """Do everything in a plan that `folder` lacks, and return the path of ``report.html``.

    Args:
        plan: what is to be done.
        folder: gets the records, the models and the report.
        panel: the judges to ask at the end, if any.
        engine: does the units.
        progress: receives every stage.

    Raises:
        AdakdError: bad input, or another process works in `folder`.
    """
    with locked(folder):
        store, context = Store(folder), RunContext(plan, folder)
        begin(store, context, engine.threads, progress)
        with _older_objects_kept():
            engine(Owner(plan, store, context, progress), progress)
        return conclude(plan, store, panel, progress)


@contextmanager
def _older_objects_kept() -> Iterator[None]:
    """Leave what is there already, libraries for the most part, out of garbage collections.

    Every training and every continuous decoding starts one, which would visit a million objects.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def prepare_plan(plan: Plan, folder: Path, threads: int, progress: Progress) -> None:
    """Check a plan and record its start, for processes that do its units one by one.

    Raises:
        AdakdError: bad input, or another process works in `folder`.
    """
    with locked(folder):
        store, context = Store(folder), RunContext(plan, folder)
        begin(store, context, threads, progress)


def begin(store: Store, context: RunContext, threads: int, progress: Progress) -> None:
    """Take in what units left, check all that can fail before any work, and record the start.

    Raises:
        AdakdError: a setting that fails later, or no room on the disk.
    """
    plan = context.plan
    sweep(store)
    context.saved |= {record.key: record.files for record in store.of(TrainingRecord)}
    keys = [*(cell.key for cell in plan.cells), *(job.key for job in plan.jobs)]
    if any(key not in store for key in keys):  # else no model is needed, nor its settings
        context.check_lengths()
    if any(cell.key not in store for cell in plan.cells):
        check_models(plan, context)
    _write_tasks(context, store)
    TeacherStates(TrainingData(context)).check_room(store)
    _note_data(context, store, progress)
    _note_threads(plan, store, threads, progress)
    store.add(run_record(plan, threads))


def _note_data(context: RunContext, store: Store, progress: Progress) -> None:
    """Say which fields nothing reads, and how many training rows equal an evaluation item."""
    trained = all(store.get(TrainingRecord, cell.key) is not None for cell in context.plan.cells)
    if trained:
        return
    for line in unread_lines(context.rows):
        progress.note(line)
    if not (count := len(context.rows.overlapping)):
        return
    kept = context.suite.data.overlap == "keep"
    fate = "TRAINED ON: the scores are no test" if kept else "left out"
    by_set = described(context.rows.by_set)
    text = f"{count:,} training rows equal an evaluation item ({by_set}) and are {fate}"
    progress.note(text, "red" if kept else "")


def _note_threads(plan: Plan, store: Store, threads: int, progress: Progress) -> None:
    """Say that earlier results were computed with another number of threads.

    Where the suite gives ``cpus``, they are the same whatever the engine; on a GPU they decide
    nothing.
    """
    runs, takes = store.of(RunRecord), plan.suite.resources
    before = runs[-1].hardware.get("threads", str(threads)) if runs else str(threads)
    is_open = any(needs.cpus is None for needs in (takes.teacher, takes.student, takes.score))
    done = all(key in store for key in plan.keys)
    if is_open and before != str(threads) and not done and not torch.accelerator.is_available():
        progress.note(
            f"{threads} threads of PyTorch a unit, and {before} at the last start: the last digits "
            "of results may depend on that; set resources.*.cpus to have it the same",
            "yellow",
        )


def _write_tasks(context: RunContext, store: Store) -> None:
    """Write the tasks to score, and check before hours of training that they can be loaded."""
    suite, todo = context.suite, {job.task for job in context.plan.jobs if job.key not in store}
    if todo:
        write_tasks(suite, context.tokenizer, context.folder / TASKS)
        if context.translation is not None:
            write_tasks(suite, context.teacher_tokenizer, context.folder / TEACHER_TASKS)
    for task in suite.evaluation.tasks:
        if task.name in todo:
            check_task(task, suite, context.tokenizer)
