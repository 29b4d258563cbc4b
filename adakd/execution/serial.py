"""The whole flow on one screen: plan -> train -> score -> time -> judge -> report."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from adakd.config import Pruned
from adakd.data.overlap import described, unread_lines
from adakd.errors import AdakdError
from adakd.evaluation.answer_scores import stored_answer_scores
from adakd.evaluation.harness import Harness, check_task, score
from adakd.evaluation.tasks import write_tasks
from adakd.execution.checks import check_models
from adakd.execution.finished import conclude
from adakd.judging import Panel
from adakd.models.loading import place
from adakd.models.saved import damage
from adakd.planning import PLAIN, Assignment, Job, Plan, timing_key
from adakd.progress import Progress, Show
from adakd.store import Store, locked
from adakd.store.provenance import run_record
from adakd.store.records import TrainingRecord
from adakd.training.context import RunContext
from adakd.training.fitting import train
from adakd.training.overhead import measure_overhead
from adakd.training.sequences import TrainingData
from adakd.training.teacher_states import TeacherStates

TASKS = "tasks"
"""Folder of the lm-eval tasks that are written for a run."""
TEACHER_TASKS = "teacher-tasks"
"""The same in the prompts of a teacher with another tokenizer."""
Twins = tuple[Assignment, Assignment]
"""A plain arm and its adaptive twin."""


def run_plan(plan: Plan, folder: Path, panel: Panel | None, progress: Progress) -> Path:
    """Do everything in a plan that `folder` lacks, and return the path of ``report.html``.

    Args:
        plan: what is to be done.
        folder: gets the records, the models and the report.
        panel: the judges to ask at the end, if any.
        progress: receives every stage.

    Raises:
        AdakdError: bad input, or another process works in `folder`.
    """
    with locked(folder):
        store, context = Store(folder), RunContext(plan, folder)
        context.saved |= {record.key: record.files for record in store.of(TrainingRecord)}
        keys = [*(cell.key for cell in plan.cells), *(job.key for job in plan.jobs)]
        if any(key not in store for key in keys):  # else no model is needed, nor its settings
            context.check_lengths()
        data = TrainingData(context)
        teacher = TeacherStates(data)
        if any(assignment.cell.key not in store for assignment in plan.assignments):
            check_models(plan, context)
        _write_tasks(context, store)
        teacher.check_room(store)
        _note_data(context, store, progress)
        store.add(run_record(plan))
        for assignment in plan.assignments:
            _train(assignment, data, teacher, store, progress)
            _check_teacher(plan, store)
            _score(assignment, context, store, progress)
        _time(_finished_pairs(plan, store), data, teacher, store, progress)
        return conclude(plan, store, panel, progress)


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


def _train(
    assignment: Assignment,
    data: TrainingData,
    teacher: TeacherStates,
    store: Store,
    progress: Progress,
) -> None:
    cell = assignment.cell
    before = store.get(TrainingRecord, cell.key)
    if before is not None:
        lost = _lost(assignment, before, data.context, store)
        if not lost:
            return
        progress.note(f"{cell}: its model cannot be read, {lost}; it is trained again", "yellow")
    resolved = data.resolve(assignment)
    if cell.has_teacher:
        teacher.prepare(resolved, store, progress)
    with progress.stage(f"train {cell}", resolved.steps) as show:
        record = train(resolved, data, teacher, show, store.add, progress.note)
    if before is not None and before.files and before.files != record.files:
        raise AdakdError(
            f"{cell}: trained again, its model is not the one that earlier results are of, as on "
            "another machine: restore it from a copy, or choose another --out folder"
        )
    store.add(record)
    if record.reason:
        progress.note(f"failed {cell}: {record.reason}", "red")


def _lost(assignment: Assignment, record: TrainingRecord, context: RunContext, store: Store) -> str:
    """Return why the model of a finished training cannot be read; empty if it can.

    A model that nothing needs any more is not looked at: its folder may have been deleted.
    """
    if assignment.training is None or record.status == "failed":
        return ""
    plan, suite, cell = context.plan, context.suite, assignment.cell
    unscored = {job.cell.key for job in plan.jobs if job.key not in store}
    needed = cell.key in unscored
    if cell.role == "teacher":
        recipes = {one.recipe for one in plan.assignments if one.cell.arm != PLAIN}
        untimed = any(timing_key(recipe, suite.timing) not in store for recipe in recipes)
        untrained = any(c.key not in store for c in plan.cells)
        pruned = isinstance(suite.student, Pruned) and bool(unscored)
        needed = needed or untrained or pruned or (bool(suite.timing.pairs) and untimed)
    return damage(context.model_folder(cell)) if needed else ""


def _check_teacher(plan: Plan, store: Store) -> None:
    """Stop if the teacher's training failed.

    Raises:
        AdakdError: it did.
    """
    record = store.get(TrainingRecord, plan.teacher.cell.key)
    if record is not None and record.status == "failed":
        raise AdakdError(f"suite {plan.suite.name!r}, teacher.sft: {record.reason}")


def _write_tasks(context: RunContext, store: Store) -> None:
    """Write the tasks to score, and check before hours of training that they can be loaded."""
    suite, todo = context.suite, {job.task for job in context.plan.jobs if job.key not in store}
    if todo:
        write_tasks(suite, context.tokenizer, context.folder / TASKS)
        if context.crossing is not None:
            write_tasks(suite, context.teacher_tokenizer, context.folder / TEACHER_TASKS)
    for task in suite.evaluation.tasks:
        if task.name in todo:
            check_task(task, suite, context.tokenizer)


def _score(assignment: Assignment, context: RunContext, store: Store, progress: Progress) -> None:
    cell, suite = assignment.cell, context.suite
    jobs = [job for job in context.plan.jobs if job.cell == cell and job.key not in store]
    record = store.get(TrainingRecord, cell.key)
    if not jobs or record is None or record.status == "failed":
        return
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.answers, []).append(job)
    for answers in [*groups]:  # a metric that was added to a finished run costs no generation
        if stored := store.answered(answers):
            store.add(*stored_answer_scores(groups.pop(answers), stored, suite))
    if not groups:
        return
    harness = Harness(place(context.load(assignment)), context.tokenizer_of(cell), suite)
    apart = cell.role == "teacher" and context.crossing is not None
    tasks = context.folder / (TEACHER_TASKS if apart else TASKS)
    with progress.stage(f"score {cell}", len(groups)) as show:
        for number, group in enumerate(groups.values()):
            show_share = partial(_show_share, show, number)
            store.add(*score(harness, group, suite, tasks, show_share))


def _show_share(show: Show, before: int, share: float) -> None:
    show(before + share)


def _time(
    pairs: Sequence[Twins],
    data: TrainingData,
    teacher: TeacherStates,
    store: Store,
    progress: Progress,
) -> None:
    """Measure the overhead once for each divergence and adaptive arm."""
    timing = data.context.suite.timing
    once: dict[tuple[str | None, str], Twins] = {}
    for pair in pairs:
        once.setdefault((pair[1].cell.divergence, pair[1].cell.arm), pair)
    for pair in once.values() if timing.pairs else ():
        if timing_key(pair[1].recipe, timing) in store:
            continue
        plain, adaptive = map(data.resolve, pair)
        teacher.prepare(plain, store, progress)
        steps = timing.warmup + timing.pairs
        with progress.stage(f"time {adaptive.cell.method}", steps) as show:
            record = measure_overhead(plain, adaptive, data, teacher, show)
        store.add(record)


def _finished_pairs(plan: Plan, store: Store) -> list[Twins]:
    """Return each adaptive assignment with its plain twin, if neither has failed."""
    records = {record.key: record for record in store.of(TrainingRecord)}
    plain: dict[tuple[str | None, int], Assignment] = {}
    adaptive: list[Assignment] = []
    for assignment in plan.assignments:
        cell, record = assignment.cell, records.get(assignment.cell.key)
        if cell.role == "distilled" and record is not None and record.status == "done":
            if cell.arm == PLAIN:
                plain[cell.divergence, cell.seed] = assignment
            else:
                adaptive.append(assignment)
    twins = [(plain.get((one.cell.divergence, one.cell.seed)), one) for one in adaptive]
    return [(twin, one) for twin, one in twins if twin is not None]
