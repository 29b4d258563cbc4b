"""Many paired differences as one small table: coloured numbers, methods by columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from adakd.reporting.formatting import on_page
from adakd.reporting.paired import PairedDifference

MANY = 48
"""Most rows of a forest plot that still fit on one screen, in two columns."""
TALL = 20
"""Most rows of a heat table; a longer one continues beside itself."""

T = TypeVar("T")
Name = Callable[[PairedDifference], str]


@dataclass(frozen=True)
class HeatTable:
    """Differences by row and column; a place without a comparison is None."""

    corner: str
    """The heading of the rows' names."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[PairedDifference | None, ...]], ...]

    @property
    def blocks(self) -> tuple[tuple[tuple[str, tuple[PairedDifference | None, ...]], ...], ...]:
        """The rows on the page in one or two blocks, which a wide screen shows side by side."""
        rows = tuple(on_page(self.rows))
        return halves(rows) if len(rows) > TALL else (rows,)


def heat_table(rows: Sequence[PairedDifference], corner: str, row: Name, column: Name) -> HeatTable:
    """Arrange differences by the names that `row` and `column` give, in order of occurrence."""
    placed = {(row(one), column(one)): one for one in rows}
    columns = tuple(dict.fromkeys(column(one) for one in rows))
    names = dict.fromkeys(row(one) for one in rows)
    cells = ((name, tuple(placed.get((name, of)) for of in columns)) for name in names)
    return HeatTable(corner, columns, tuple(cells))


def heat_by_arm(rows: Sequence[PairedDifference]) -> HeatTable:
    """Arrange differences by arm and divergence; the more numerous of the two are the rows."""

    def arm(row: PairedDifference) -> str:
        return row.arm

    def divergence(row: PairedDifference) -> str:
        return row.divergence

    arms, divergences = len({*map(arm, rows)}), len({*map(divergence, rows)})
    if arms >= divergences:
        return heat_table(rows, "Arm", arm, divergence)
    return heat_table(rows, "Divergence", divergence, arm)


def heat_by_task(rows: Sequence[PairedDifference]) -> HeatTable:
    """Arrange the differences of single tasks by method and task."""
    return heat_table(
        rows, "Method", lambda row: f"{row.divergence} + {row.arm}", lambda row: str(row.task)
    )


def halves(rows: Sequence[T]) -> tuple[tuple[T, ...], ...]:
    """Return the first and the second half of some rows, the first no shorter."""
    half = ceil(len(rows) / 2)
    return tuple(rows[:half]), tuple(rows[half:])
