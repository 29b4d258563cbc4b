"""The whole flow on one screen: suite -> plan -> train -> score -> time -> judge -> report."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from adakd.config import Suite
from adakd.data import Row, read_rows
from adakd.errors import AdakdError
from adakd.evaluation.harness import Harness, check_task, score
from adakd.evaluation.tasks import write_tasks
from adakd.judging import ItemText, Judge, check, judge_answers, load_judge
from adakd.planning import PLAIN, Cell, Plan, digest, plan, timing_key
from adakd.progress import Progress, Show, Silent
from adakd.provenance import run_record
from adakd.reporting import write_report
from adakd.results import ExampleRecord, Store, TrainingRecord, locked
from adakd.training.allocator import keep_freed_memory
from adakd.training.timing import measure_overhead
from adakd.training.workshop import Workshop

EXAMPLES = 2
"""Items of each instruction set whose text and answers the report shows."""


def run(suite: Suite, folder: Path, progress: Progress | None = None) -> Path:
    """Train, score, time, judge and report all that a suite asks for.

    What `folder` already holds is not done again, so a killed run goes on where it stopped.

    Args:
        suite: from :func:`adakd.load_suite`.
        folder: gets the records, the models and the report.
        progress: is told of every stage; silent by default.

    Returns:
        The path of ``report.html``.

    Raises:
        AdakdError: bad input, or another process at work in `folder`.
    """
    progress = progress or Silent()
    keep_freed_memory()
    plan_ = plan(suite)
    judges = [load_judge(name) for name in suite.judges]
    for asked in judges:
        check(asked)  # before hours of training, not after
    with locked(folder):
        store, workshop = Store(folder), Workshop(plan_, folder)
        _write_tasks(workshop, store)
        store.add(run_record(plan_))
        for cell in plan_.cells:
            _train(cell, workshop, store, progress)
            _check_teacher(plan_, store)
            _score(cell, workshop, store, progress)
        pairs = _finished_pairs(plan_, store)
        _time(pairs, workshop, store, progress)
        _keep_examples(suite, store)
        report = write_report(folder)
        for asked in judges if pairs else []:
            _judge(asked, suite, store, progress)
            report = write_report(folder)
        return report


def judge(
    folder: Path,
    judge: str,
    against: str = "plain",
    limit: int | None = None,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
) -> Path:
    """Add a judge's verdicts to a finished run and make its report again.

    Args:
        folder: of the run.
        judge: a shipped judge's name or the path of a judge file.
        against: ``plain`` compares every adaptive arm with its plain twin; ``reference``, a role
            or a method compares every student with that.
        limit: judge this many items of each set, a seeded choice; all if not given.
        overrides: ``field=value`` settings of the judge.
        progress: is told of every stage; silent by default.

    Returns:
        The path of ``report.html``.

    Raises:
        AdakdError: no finished run there, an unknown judge, or one that cannot be reached.
    """
    Store(folder).suite()  # a mistyped folder must not be made by its lock
    with locked(folder):
        store, asked = Store(folder), load_judge(judge, overrides)
        _judge(asked, store.suite(), store, progress or Silent(), against, limit)
        return write_report(folder)


def _train(cell: Cell, workshop: Workshop, store: Store, progress: Progress) -> None:
    if store.get(TrainingRecord, cell.key) is not None:
        return
    with progress.stage(f"train {cell}", workshop.steps(cell)) as show:
        record = workshop.train(cell, show)
    store.add(record)
    if record.reason:
        progress.note(f"[red]failed[/red] {cell}: {record.reason}")


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
    harness = Harness(workshop.on_device(cell), workshop.tokenizer, suite)
    with progress.stage(f"score {cell}", len(jobs)) as show:
        for number, job in enumerate(jobs):
            store.add(score(harness, job, suite, tasks, partial(_show_share, show, number)))


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
        steps = timing.warmup + timing.pairs
        with progress.stage(f"time {adaptive.method}", steps) as show:
            record = measure_overhead(workshop, plain, adaptive, timing, show)
        store.add(record)


def _finished_pairs(plan: Plan, store: Store) -> list[tuple[Cell, Cell]]:
    """Return each adaptive cell with its plain twin, where neither has failed."""
    records = [store.get(TrainingRecord, cell.key) for cell in plan.cells]
    done = [record.cell for record in records if record and record.status == "done"]
    plain = {(cell.divergence, cell.seed): cell for cell in done if cell.arm == PLAIN}
    adaptive = [cell for cell in done if cell.arm != PLAIN]
    twins = [(plain.get((cell.divergence, cell.seed)), cell) for cell in adaptive]
    return [(twin, cell) for twin, cell in twins if twin is not None]


def _keep_examples(suite: Suite, store: Store) -> None:
    """Record the text of the items that the report shows."""
    for name, source in suite.evaluation.sets.items():
        for row in read_rows(source, suite)[:EXAMPLES]:
            key = digest("example", name, row)
            if key not in store:
                question = f"{row.instruction}\n{row.input}".strip()
                store.add(
                    ExampleRecord(
                        key=key,
                        task=name,
                        item=row.id,
                        question=question,
                        reference=row.references[0],
                    )
                )


def _judge(
    asked: Judge,
    suite: Suite,
    store: Store,
    progress: Progress,
    against: str = "plain",
    limit: int | None = None,
) -> None:
    items = item_texts(suite)
    with progress.stage(f"judge with {asked.name}", 1) as show:
        summary = judge_answers(store, asked, items, against, limit, on_progress=show)
    if summary.failure:
        failed = summary.outcomes.get("failed", 0)
        progress.note(f"[yellow]{failed} items without a verdict[/yellow]: {summary.failure}")


def item_texts(suite: Suite) -> Mapping[str, Mapping[str, ItemText]]:
    """Return what a judge is shown of every item, by set and item id."""
    return {
        name: {row.id: _text(row) for row in read_rows(source, suite)}
        for name, source in suite.evaluation.sets.items()
    }


def _text(row: Row) -> ItemText:
    return ItemText(instruction=row.instruction, input=row.input, references=row.references)
