"""The whole flow on one screen: plan -> train -> score -> time -> judge -> report."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from adakd.config import Suite
from adakd.errors import AdakdError
from adakd.evaluation.answer_scores import stored_answer_scores
from adakd.evaluation.harness import Harness, check_task, score
from adakd.evaluation.tasks import write_tasks
from adakd.execution.judgement import ask_judges, item_texts, subject_of
from adakd.judging import Panel
from adakd.judging.runner import keep_texts
from adakd.planning import PLAIN, Cell, Job, Plan, timing_key
from adakd.progress import Progress, Show
from adakd.reporting import write_report
from adakd.store import Store, locked
from adakd.store.provenance import run_record
from adakd.store.records import TeachingRecord, TrainingRecord
from adakd.training.context import Workshop
from adakd.training.overhead import measure_overhead

EXAMPLES = 2
"""Items of each instruction set whose text and answers the report shows."""


def run_plan(plan: Plan, folder: Path, panel: Panel | None, progress: Progress) -> Path:
    """Do all of a plan that `folder` does not hold yet, and return the path of ``report.html``.

    Args:
        plan: what is to be done.
        folder: gets the records, the models and the report.
        panel: the judges to ask at the end, if any.
        progress: is told of every stage.

    Raises:
        AdakdError: bad input, or another process at work in `folder`.
    """
    with locked(folder):
        store, workshop = Store(folder), Workshop(plan, folder)
        _write_tasks(workshop, store)
        store.add(run_record(plan))
        for cell in plan.cells:
            _train(cell, workshop, store, progress)
            _check_teacher(plan, store)
            _score(cell, workshop, store, progress)
        pairs = _finished_pairs(plan, store)
        _time(pairs, workshop, store, progress)
        _keep_examples(plan.suite, store)
        report = write_report(folder)
        if panel and pairs:
            ask_judges(panel, subject_of(folder), store, progress)
            report = write_report(folder)
        return report


def _train(cell: Cell, workshop: Workshop, store: Store, progress: Progress) -> None:
    if store.get(TrainingRecord, cell.key) is not None:
        return
    if cell.has_teacher:
        _teach(cell, workshop, store, progress)
    with progress.stage(f"train {cell}", workshop.steps(cell)) as show:
        record = workshop.train(cell, show, store.add)
    store.add(record)
    if record.reason:
        progress.note(f"[red]failed[/red] {cell}: {record.reason}")


def _teach(cell: Cell, workshop: Workshop, store: Store, progress: Progress) -> None:
    """Let the teacher write and read what the students learn from, once for all of them.

    Raises:
        AdakdError: it was read before, and cannot be had in the same way.
    """
    for answers in workshop.lessons.answers:
        if answers.missing:
            with progress.stage("teacher writes", len(answers.missing)) as show:
                workshop.lessons.fill_answers(answers, show)
    if workshop.lessons.is_fresh(cell):
        progress.note(f"the teacher reads every batch anew: {cell} makes sequences in training")
        return
    known = store.get(TeachingRecord, workshop.plan.teaching_key)
    if known is not None and known.cache == "off":
        workshop.cache = known.reason  # as for the students before
    cache, start = workshop.cache, time.perf_counter()
    if isinstance(cache, str):
        if known is not None and known.cache != "off":
            raise AdakdError(
                f"{workshop.folder}: students so far learned from kept hidden states of the "
                f"teacher, and now {cache}; mend that, or choose another --out folder"
            )
        progress.note(f"the teacher reads every batch anew: {cache}")
    elif cache.missing:
        progress.note(
            f"the teacher's hidden states take {cache.bytes / 1e6:,.1f} MB in {cache.folder}"
        )
        with progress.stage("teacher reads", len(cache.parts)) as show:
            workshop.fill_cache(show)
    if known is None:
        store.add(workshop.teaching_record(time.perf_counter() - start))


def _check_teacher(plan: Plan, store: Store) -> None:
    """Stop where nothing can be distilled.

    Raises:
        AdakdError: the teacher's own training has failed.
    """
    record = store.get(TrainingRecord, plan.teacher.key)
    if record is not None and record.status == "failed":
        raise AdakdError(f"suite {plan.suite.name!r}, teacher.sft: {record.reason}")


def _write_tasks(workshop: Workshop, store: Store) -> None:
    """Write the tasks to score, and find out before hours of training whether they can be had."""
    suite, todo = workshop.suite, {job.task for job in workshop.plan.jobs if job.key not in store}
    if todo:
        write_tasks(suite, workshop.tokenizer, workshop.tasks)
    for task in suite.evaluation.tasks:
        if task.name in todo:
            check_task(task, suite)


def _score(cell: Cell, workshop: Workshop, store: Store, progress: Progress) -> None:
    jobs = [job for job in workshop.plan.jobs if job.cell == cell and job.key not in store]
    record = store.get(TrainingRecord, cell.key)
    if not jobs or record is None or record.status == "failed":
        return
    suite, tasks = workshop.suite, workshop.tasks
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.answers, []).append(job)
    for answers in [*groups]:  # a metric that was added to a finished run costs no generation
        if stored := store.answered(answers):
            store.add(*stored_answer_scores(groups.pop(answers), stored, suite))
    if not groups:
        return
    harness = Harness(workshop.on_device(cell), workshop.tokenizer, suite)
    with progress.stage(f"score {cell}", len(groups)) as show:
        for number, group in enumerate(groups.values()):
            store.add(*score(harness, group, suite, tasks, partial(_show_share, show, number)))


def _show_share(show: Show, before: int, share: float) -> None:
    show(before + share)


def _time(
    pairs: Sequence[tuple[Cell, Cell]], workshop: Workshop, store: Store, progress: Progress
) -> None:
    """Measure the overhead once for each divergence and arm."""
    timing = workshop.suite.timing
    once: dict[tuple[str | None, str], tuple[Cell, Cell]] = {}
    for pair in pairs:
        once.setdefault((pair[1].divergence, pair[1].arm), pair)
    for plain, adaptive in once.values() if timing.pairs else ():
        if timing_key(adaptive, timing) in store:
            continue
        _teach(plain, workshop, store, progress)
        steps = timing.warmup + timing.pairs
        with progress.stage(f"time {adaptive.method}", steps) as show:
            record = measure_overhead(workshop, plain, adaptive, show)
        store.add(record)


def _finished_pairs(plan: Plan, store: Store) -> list[tuple[Cell, Cell]]:
    """Return each adaptive cell with its plain twin, where neither has failed."""
    records = [store.get(TrainingRecord, cell.key) for cell in plan.cells]
    done = [record.cell for record in records if record and record.status == "done"]
    distilled = [cell for cell in done if cell.role == "distilled"]
    plain = {(cell.divergence, cell.seed): cell for cell in distilled if cell.arm == PLAIN}
    adaptive = [cell for cell in distilled if cell.arm != PLAIN]
    twins = [(plain.get((cell.divergence, cell.seed)), cell) for cell in adaptive]
    return [(twin, cell) for twin, cell in twins if twin is not None]


def _keep_examples(suite: Suite, store: Store) -> None:
    """Record the text of the items that the report shows."""
    items = item_texts(suite)
    keep_texts(store, items, ((task, item) for task in items for item in [*items[task]][:EXAMPLES]))
