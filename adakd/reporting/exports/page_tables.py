"""The tables of the page, read from the page itself: an export cannot say anything else."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass(frozen=True)
class Cell:
    """One cell: its main text, and the smaller one below it."""

    text: str
    below: str = ""
    """An interval, a unit or a remark."""
    is_best: bool = False
    is_text: bool = False
    """Whether it is set to the left, as words are."""
    span: int = 1


@dataclass(frozen=True)
class Row:
    """One row; a row that heads a group has one cell over all columns."""

    cells: tuple[Cell, ...]

    @property
    def heads_group(self) -> bool:
        """Whether the row is the name of the rows below it."""
        return len(self.cells) == 1 and self.cells[0].span > 1


@dataclass(frozen=True)
class Table:
    """One table of the page, without its charts."""

    id: str
    """The section and the place in it, such as ``scores-1``."""
    caption: str
    """The section, and what the page says above the table: what varies, and the unit."""
    header: tuple[Cell, ...]
    rows: tuple[Row, ...]


def tables_of(page: str) -> tuple[Table, ...]:
    """Return every table of a page in its order.

    Charts are left out, and so are tables that show in brief what another one has in full.
    """
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return tuple(reader.tables)


@dataclass
class _Open:
    """A cell that is being read."""

    is_best: bool = False
    is_text: bool = False
    span: int = 1
    is_drawn: bool = False
    text: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)

    def made(self) -> Cell:
        """Return the cell with single spaces."""
        text, below = (" ".join("".join(parts).split()) for parts in (self.text, self.below))
        if not text:
            text, below = below, ""
        return Cell(text, below, self.is_best, self.is_text, self.span)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self._section = ""
        self._title: list[str] = []
        self._heading: list[str] = []
        self._caption: list[str] = []
        self._rows: list[list[_Open]] = []
        self._header: list[_Open] = []
        self._cell: _Open | None = None
        self._within: list[str] = []
        self._is_brief = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        classes = values.get("class", "").split()
        if tag in ("meta", "br", "input"):
            return
        self._within.append(tag)
        if tag == "section":
            self._section, self._title, self._heading = values.get("id", ""), [], []
        elif tag == "h2":
            self._title = []
        elif tag in ("h3", "summary"):
            self._heading = []
        elif tag == "table":
            self._caption, self._rows, self._header = [], [], []
            self._is_brief = "brief" in classes
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("th", "td"):
            self._cell = _Open(
                is_text="text" in classes or values.get("scope") in ("row", "rowgroup"),
                span=int(values.get("colspan") or 1),
                is_drawn="draw" in classes,
            )
        if self._cell is not None and "best" in classes:
            self._cell.is_best = True
        if self._cell is not None and tag == "small" and self._cell.below:
            self._cell.below.append(" ")

    def handle_endtag(self, tag: str) -> None:
        while self._within and self._within.pop() != tag:
            pass
        if tag in ("th", "td") and self._cell is not None:
            self._rows[-1].append(self._cell)
            self._cell = None
        elif tag == "thead":
            self._header, self._rows = self._rows[-1], []
        elif tag == "tfoot":
            self._rows.pop()
        elif tag == "table" and not self._is_brief:
            self.tables.append(self._table())

    def handle_data(self, data: str) -> None:
        inside = set(self._within)
        if self._cell is not None:
            if "svg" not in inside:
                (self._cell.below if "small" in inside else self._cell.text).append(data)
        elif "caption" in inside:
            self._caption.append(data)
        elif "h2" in inside:
            self._title.append(data)
        elif ("h3" in inside or "summary" in inside) and "span" not in inside:
            self._heading.append(data)

    def _table(self) -> Table:
        number = sum(table.id.startswith(f"{self._section}-") for table in self.tables) + 1
        drawn = {place for place, cell in enumerate(self._header) if cell.is_drawn}
        header = tuple(cell.made() for cell in self._header if not cell.is_drawn)
        rows = (Row(tuple(_shown(row, drawn))) for row in self._rows)
        parts = (" ".join("".join(of).split()) for of in (self._title, self._heading))
        caption = " ".join("".join(self._caption).split())
        told = dict.fromkeys(part for part in (*parts, caption) if part)
        return Table(f"{self._section}-{number}", ". ".join(told), header, tuple(rows))


def _shown(row: list[_Open], drawn: set[int]) -> Iterator[Cell]:
    """Yield the cells of a row without those of charts; a wide cell spans fewer columns then."""
    place = 0
    for cell in row:
        covered = drawn & set(range(place, place + cell.span))
        place += cell.span
        made = cell.made()
        span = made.span - len(covered)
        if span > 0:
            yield Cell(made.text, made.below, made.is_best, made.is_text, span)
