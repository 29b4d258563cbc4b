"""The whole flow on one screen: suite -> plan -> train -> score -> time -> judge -> report."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.markup import escape

from adakd.config import Suite
from adakd.data import Row, read_rows
from adakd.errors import AdakdError
from adakd.evaluation.harness import Harness, check_task, score
from adakd.evaluation.tasks import write_tasks
from adakd.judging import TWIN, ItemText, Panel, Subject, check, judge_answers, load_panel
from adakd.judging.answers import read_answers
from adakd.judging.cost import Cost
from adakd.judging.run import costs, keep_texts
from adakd.planning import PLAIN, Cell, Plan, plan, timing_key
from adakd.progress import Progress, Show, Silent
from adakd.provenance import run_record
from adakd.records import ScoreRecord, TrainingRecord
from adakd.reporting import vetting_warnings, write_report
from adakd.results import Store, locked
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
    panel = load_panel(suite.judges) if suite.judges else None
    if panel:
        check(panel)  # before hours of training, not after
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
        if panel and pairs:
            _judge(panel, _subject(folder, TWIN, None), store, progress)
            report = write_report(folder)
        return report


def judge(
    folder: Path,
    *judges: str,
    against: str = TWIN,
    limit: int | None = None,
    until: float | None = None,
    overrides: Sequence[str] = (),
    files: tuple[Path, Path] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Add verdicts to a finished run, or judge two files of answers, and make the report again.

    Args:
        folder: of the run; with `files`, where records and report go.
        *judges: shipped judges' names or paths of judge files; several are a jury.
        against: ``plain`` compares every adaptive arm with its plain twin; ``reference``, a role
            or a method compares every student with that; ``all`` every method with every other;
            ``again`` each plain method's first training seed with its second.
        limit: judge this many items of each set, a seeded choice; all if not given.
        until: stop asking about a method once its win rate's interval has this half-width.
        overrides: ``field=value`` settings of the judge, where there is one.
        files: candidate and opponent, JSONL files of answers that were made elsewhere.
        progress: is told of every stage; silent by default.

    Returns:
        The path of ``report.html``.

    Raises:
        AdakdError: no finished run there, a bad file, an unknown judge, or one that cannot be
            reached.
    """
    panel, progress = load_panel(judges, overrides), progress or Silent()
    subject = _subject(folder, against, files)
    if subject.note:
        progress.note(escape(subject.note))
    with locked(folder):
        store = Store(folder)
        if files is not None:
            _keep_files(subject, store)
        _judge(panel, subject, store, progress, limit, until)
        return write_report(folder)


def judging_costs(
    folder: Path,
    *judges: str,
    against: str = TWIN,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    files: tuple[Path, Path] | None = None,
) -> list[Cost]:
    """Return what :func:`judge` would ask each judge, and what that costs; asks nothing.

    Raises:
        AdakdError: as :func:`judge`, but for judges that cannot be reached.
    """
    panel, subject = load_panel(judges, overrides), _subject(folder, against, files)
    return costs(Store(folder), panel, subject, limit)


def _subject(folder: Path, against: str, files: tuple[Path, Path] | None) -> Subject:
    """Return what is to be judged: the answers of a run, or those of two files."""
    if files is not None:
        return read_answers(*files).subject
    store = Store(folder)
    suite = store.suite()  # a mistyped folder must not be made by its lock
    return Subject(tuple(store.current(ScoreRecord)), item_texts(suite), against)


def _keep_files(subject: Subject, store: Store) -> None:
    """Record the answers of two files.

    Raises:
        AdakdError: the folder holds other answers than these.
    """
    keys = {record.key for record in subject.scores}
    if any(record.key not in keys for record in store.of(ScoreRecord)):
        raise AdakdError(f"{store.folder}: holds other answers; choose another --out folder")
    if missing := [record for record in subject.scores if record.key not in store]:
        store.add(*missing)


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
    items = item_texts(suite)
    keep_texts(store, items, ((task, item) for task in items for item in [*items[task]][:EXAMPLES]))


def _judge(
    panel: Panel,
    subject: Subject,
    store: Store,
    progress: Progress,
    limit: int | None = None,
    until: float | None = None,
) -> None:
    with progress.stage(f"judge with {panel.name}", 1) as show:
        judged = judge_answers(store, panel, subject, limit, until, on_progress=show)
    for warning in vetting_warnings(store, [judge.id for judge in panel.judges]):
        progress.note(f"[yellow]{escape(warning)}[/yellow]")
    if judged.failure:
        failed = judged.summaries[-1].outcomes.get("failed", 0)
        reason = escape(judged.failure)
        progress.note(f"[yellow]{failed} pairs without a verdict[/yellow]: {reason}")


def item_texts(suite: Suite) -> Mapping[str, Mapping[str, ItemText]]:
    """Return what a judge is shown of every item, by set and item id."""
    return {
        name: {row.id: _text(row) for row in read_rows(source, suite)}
        for name, source in suite.evaluation.sets.items()
    }


def _text(row: Row) -> ItemText:
    return ItemText(instruction=row.instruction, input=row.input, references=row.references)
