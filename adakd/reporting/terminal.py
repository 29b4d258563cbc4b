"""What judging came to, for the terminal; the report says the same at length."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from adakd.reporting import formatting, wording
from adakd.reporting.index import index
from adakd.reporting.judges.judging import Judging, judging
from adakd.reporting.judges.verdicts import verdicts
from adakd.store import Store


def win_rate_table(store: Store) -> Table:
    """Return the win rates of every judge in one table."""
    table = Table(title="win rates")
    for name in ("judge", "method against opponent", "verdict"):
        table.add_column(name)
    for name in ("win rate", "pairs"):
        table.add_column(name, justify="right", no_wrap=True)
    found = _judging(store)
    for row in found.contests:
        rate, counts = row.overall, row.rate.counts
        doubt = "" if found.referee(row.judge).is_trusted else "?"
        failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
        table.add_row(
            escape(found.name(row.judge)),
            escape(f"{row.method} against {row.opponent}"),
            f"{row.word if rate else 'failed'}{doubt}",
            f"{formatting.percent(rate.estimate)}\n{100 * rate.low:.0f}–{100 * rate.high:.0f}"
            if rate
            else formatting.NONE,
            f"{sum(counts.values()):,}{failed}",
        )
    return table


def vetting_warnings(store: Store, judges: Sequence[str]) -> list[str]:
    """Return why the win rates of some judges are not to be believed, a sentence for each.

    Args:
        store: the run.
        judges: the judges' keys, or a jury's.
    """
    found = _judging(store)
    asked = [one for one in found.referees if one.record.key in judges]
    warnings = (wording.warning(one, found.name(one.record.key)) for one in asked)
    return [warning for warning in warnings if warning]


def _judging(store: Store) -> Judging:
    order = index(store)
    return judging(store, order, verdicts(store, order))
