"""What comes after the units of a run, and a start that finds them all done. Imports no torch."""

from pathlib import Path

from adakd.config import Suite
from adakd.execution.judgement import ask_judges, item_texts, subject_of
from adakd.judging import Panel
from adakd.judging.runner import keep_texts
from adakd.planning import PLAIN, Plan, timing_key
from adakd.planning.units import twins
from adakd.progress import Progress
from adakd.reporting import write_report
from adakd.store import Store
from adakd.store.records import RunRecord, TrainingRecord

EXAMPLES = 2
"""Items of each instruction set whose text and answers the report shows."""


def is_finished(plan: Plan, store: Store) -> bool:
    """Return whether a run has all that its plan asks for, from a start with the same suite.

    Then no model is needed, and no record of another start: this one computes nothing.
    """
    runs, suite = store.of(RunRecord), plan.suite
    if not runs or runs[-1].suite != suite.model_dump(mode="json"):
        return False
    keys = [part.key for parts in (plan.cells, plan.jobs) for part in parts]
    if suite.timing.pairs:
        adaptive = (one for one in plan.assignments if one.cell.arm != PLAIN)
        keys += [timing_key(one.recipe, suite.timing) for one in adaptive]
    return all(key in store for key in keys) and {*plan.keys} == {*runs[-1].wanted}


def conclude(plan: Plan, store: Store, panel: Panel | None, progress: Progress) -> Path:
    """Keep the texts of examples, ask the judges what they were not asked yet, write the report.

    Returns:
        The path of ``report.html``.
    """
    _keep_examples(plan.suite, store)
    report = write_report(store.folder)
    if panel and _has_pairs(plan, store):
        ask_judges(panel, subject_of(store.folder), store, progress)
        report = write_report(store.folder)
    return report


def _has_pairs(plan: Plan, store: Store) -> bool:
    """Return whether both arms of a pair are trained, so that there is something to judge."""
    done = {record.key for record in store.of(TrainingRecord) if record.status == "done"}
    return any({one.cell.key for one in pair} <= done for pair in twins(plan))


def _keep_examples(suite: Suite, store: Store) -> None:
    """Record the text of the items that the report shows."""
    items = item_texts(suite)
    keep_texts(store, items, ((task, item) for task in items for item in [*items[task]][:EXAMPLES]))
