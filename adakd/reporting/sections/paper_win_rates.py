"""Our win rates against a fixed opponent and the published ones, by the paper's judge."""

from dataclasses import dataclass
from pathlib import Path

from adakd.config import Published
from adakd.judging.comparisons import REFERENCE
from adakd.planning.published import published_win_rates
from adakd.reporting.judges.rates import WinRateRow, win_rate_rows
from adakd.reporting.sections.base import Context


@dataclass(frozen=True)
class PublishedWinRate:
    """One method: the published win rate and ours."""

    method: str
    name: str
    """The name in the paper's table."""
    paper: float
    """In percent."""
    ours: tuple[WinRateRow, ...]
    """By every judge of that name, against the references and against every fixed model; none
    where it was not asked."""


@dataclass(frozen=True)
class WinRateTable:
    """A published table of win rates with our results."""

    table: str
    judge: str
    """The name or path of the judge."""
    rows: tuple[PublishedWinRate, ...]

    @property
    def is_asked(self) -> bool:
        """Whether the judge was asked about any of the methods."""
        return any(row.ours for row in self.rows)


@dataclass(frozen=True)
class PaperWinRates:
    """All published tables of win rates that the suite names."""

    tables: tuple[WinRateTable, ...]


def paper_win_rates(context: Context) -> PaperWinRates | None:
    """Return our win rates with the published ones; None if the suite names no such table."""
    suite = context.index.suite
    sections = [section for section in suite.paper if section.judge] if suite else []
    if not sections:
        return None
    return PaperWinRates(tuple(_table(context, section) for section in sections))


def _table(context: Context, section: Published) -> WinRateTable:
    judge = section.judge or ""
    keys = {one.key for one in context.verdicts.judges if one.name == Path(judge).stem}
    found: dict[str, list[WinRateRow]] = {}
    for row in context.once(win_rate_rows):
        is_fixed = row.against == REFERENCE or row.opponent.role == "file"
        if is_fixed and row.judge in keys:
            found.setdefault(str(row.method), []).append(row)
    rates = published_win_rates(section)
    rows = (
        PublishedWinRate(method, name, rates[method], tuple(found.get(method, ())))
        for method, name in section.rows.items()
    )
    return WinRateTable(section.table, judge, tuple(rows))
