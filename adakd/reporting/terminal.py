"""Summarise the judging for the terminal; the report has the details."""

from collections.abc import Sequence

from rich.table import Table

from adakd.console import shown
from adakd.reporting import formatting
from adakd.reporting.families import arm_differences
from adakd.reporting.headline import headlines
from adakd.reporting.judges import warnings
from adakd.reporting.judges.rates import win_rate_rows
from adakd.reporting.judges.vetting import judge_vettings
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.controls import controls
from adakd.reporting.sections.overhead import overheads
from adakd.store import Store


def win_rate_table(store: Store) -> Table:
    """Return the win rates of every judge in one table."""
    table = Table(title="win rates")
    for name in ("judge", "method against opponent", "verdict"):
        table.add_column(name)
    for name in ("win rate", "pairs"):
        table.add_column(name, justify="right", no_wrap=True)
    context = Context.of(store)
    judges = {judge.key: judge for judge in context.once(judge_vettings)}
    for row in win_rate_rows(context):
        rate, counts = row.overall, row.rate.counts
        judge = judges[row.judge]
        doubt = "" if judge.is_trusted else "?"
        failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
        table.add_row(
            shown(judge.name),
            shown(f"{row.method} against {row.opponent}"),
            f"{row.conclusion if rate else 'failed'}{doubt}",
            f"{formatting.percent(rate.estimate)}\n{100 * rate.low:.0f}–{100 * rate.high:.0f}"
            if rate
            else formatting.NONE,
            f"{sum(counts.values()):,}{failed}",
        )
    return table


def answer_lines(store: Store) -> list[str]:
    """Return the first sentences of the page: on the run's controls, and on its question.

    A run may have neither controls nor an arm that is compared with the plain one.
    """
    context = Context.of(store)
    rows, costs = context.once(arm_differences).overall, context.once(overheads)
    checked = context.once(controls)
    return [*([checked.sentence] if checked else []), *headlines(rows, costs)[:1]]


def vetting_warnings(store: Store, judges: Sequence[str]) -> list[str]:
    """Return a sentence for each of some judges whose win rates are not reliable.

    Args:
        store: the run.
        judges: the keys of judges or juries.
    """
    return warnings.vetting_warnings(Context.of(store), judges)
