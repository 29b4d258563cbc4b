"""Ours beside the paper's figures: whether gains have the same sign, and methods the same order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from adakd.config import Published
from adakd.planning import PLAIN
from adakd.planning.published import METRIC, PublishedRow, PublishedScore, published_rows
from adakd.reporting.formatting import counted, number, signed
from adakd.reporting.index import Index, Method
from adakd.reporting.sections.answer import Comparison, versus
from adakd.reporting.sections.scores import Score, score_table
from adakd.stats import order_agreement
from adakd.store.records import TaskRecord

Agreement = Literal["same sign", "other sign", "no sign"]
_DIGITS = 6
"""Means that differ by less than rounding errors are the same."""


@dataclass(frozen=True)
class Gain:
    """What a method has over another one, here and in the paper, in the mean of the sets."""

    over: Method
    ours: Comparison
    paper: float

    @property
    def agreement(self) -> Agreement:
        """Whether both have one sign; ``no sign`` where one of them is 0 or unknown."""
        found = self.ours.difference.estimate if self.ours.difference else 0.0
        product = round(found, _DIGITS) * round(self.paper, _DIGITS)
        return "no sign" if product == 0 else "same sign" if product > 0 else "other sign"

    @property
    def is_separable(self) -> bool:
        """Whether ours can be told from no gain at all."""
        return self.ours.word in ("better", "worse")


@dataclass(frozen=True)
class PaperRow:
    """One method: ours and the published figures, column by column."""

    method: Method
    name: str
    """What the paper's table calls it."""
    fields: tuple[tuple[Score, PublishedScore], ...]
    gain: Gain | None


@dataclass(frozen=True)
class Swap:
    """Two methods that the paper orders the other way round."""

    better: Method
    """In the paper."""
    worse: Method
    paper: float
    ours: float
    """The difference here, which is below 0."""


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables beside ours."""

    table: str
    model: str | None
    over: str | None
    """The method that gains are counted from; None where it is the plain arm of each."""
    unit: str
    columns: tuple[str, ...]
    """Sets that both have, and the mean."""
    sets: tuple[str, ...]
    """The sets that our mean is over."""
    paper_sets: tuple[str, ...]
    """The sets that the paper's mean is over, as it stands here."""
    varied: str
    """What our ± varies."""
    has_spread: bool
    """Whether the paper gives a spread."""
    rows: tuple[PaperRow, ...]
    ranked: int
    """Students with a mean of both sorts."""
    tau: float | None
    pairs: int
    """Of these students, that neither side ties."""
    swaps: tuple[Swap, ...]

    @property
    def is_same_sets(self) -> bool:
        """Whether both means are over the same sets."""
        return set(self.sets) == set(self.paper_sets)


def paper_tables(index: Index) -> tuple[PaperTable, ...]:
    """Return the published tables that the run's suite names, beside ours."""
    sets = [task for task in index.of_sort("answers") if task.metric == METRIC]
    sections = index.suite.paper if index.suite and sets else ()
    return tuple(_table(index, section, sets) for section in sections)


def _table(index: Index, section: Published, sets: Sequence[TaskRecord]) -> PaperTable:
    known = {str(method): method for method in index.methods}
    published = {known[name]: row for name, row in published_rows(section).items() if name in known}
    names = next((tuple(row.sets) for row in published.values()), ())
    shared = [task for task in sets if task.name in names]
    ours, theirs = shared or sets, tuple(task.name for task in shared) or names
    scores = score_table(index, ours, average=True)
    averages = {method: _average(row, theirs) for method, row in published.items()}
    gains = {gain_of: gain for gain_of, gain in _gains(index, section, averages, known, ours)}
    columns = [task.name for task in shared]
    fields = {
        method: _fields(dict(scores.rows)[method], row, columns, averages[method])
        for method, row in published.items()
    }
    rows = tuple(
        PaperRow(method, row.name, fields[method], gains.get(method))
        for method, row in published.items()
    )
    ranked = [row for row in rows if row.method.role != "teacher" and _mean_of(row) is not None]
    means = [round(_mean_of(row) or 0.0, _DIGITS) for row in ranked]
    order = order_agreement(means, [row.fields[-1][1].mean for row in ranked])
    return PaperTable(
        table=section.table,
        model=section.model,
        over=section.over,
        unit=sets[0].unit,
        columns=(*columns, "mean"),
        sets=tuple(task.name for task in ours),
        paper_sets=theirs,
        varied=scores.varied,
        has_spread=any(figure.std is not None for row in rows for _, figure in row.fields),
        rows=rows,
        ranked=len(ranked),
        tau=order.tau,
        pairs=order.pairs,
        swaps=tuple(
            Swap(
                better=ranked[better].method,
                worse=ranked[worse].method,
                paper=ranked[better].fields[-1][1].mean - ranked[worse].fields[-1][1].mean,
                ours=means[better] - means[worse],
            )
            for better, worse in order.differing
        ),
    )


def _average(row: PublishedRow, names: Sequence[str]) -> float:
    """Return the paper's mean over some of its sets; over all of them as it is printed."""
    if set(names) == set(row.sets):
        return row.average
    return mean(row.sets[name].mean for name in names)


def _fields(
    scores: Sequence[Score], row: PublishedRow, columns: Sequence[str], average: float
) -> tuple[tuple[Score, PublishedScore], ...]:
    """Pair our scores with the published ones; the last pair is that of the means."""
    found = [(score, row.sets[name]) for score, name in zip(scores, columns, strict=False)]
    return (*found, (scores[-1], PublishedScore(average)))


def _mean_of(row: PaperRow) -> float | None:
    return row.fields[-1][0].mean


def _gains(
    index: Index,
    section: Published,
    averages: Mapping[Method, float],
    known: Mapping[str, Method],
    sets: Sequence[TaskRecord],
) -> Iterator[tuple[Method, Gain]]:
    """Yield each method that stands against another one of the table, with its gain over that."""
    pairs = [(method, _opponent(method, section.over, known)) for method in averages]
    pairs = [(on, off) for on, off in pairs if off in averages and on != off]
    of_table = [(on, off) for on, off in pairs if off is not None]
    for (on, off), found in zip(of_table, versus(index, of_table, sets), strict=True):
        yield on, Gain(off, found, averages[on] - averages[off])


def _opponent(method: Method, over: str | None, known: Mapping[str, Method]) -> Method | None:
    """Return what a distilled method's gain is counted from: one method, or its plain arm."""
    if method.role != "distilled":
        return None
    return known.get(over) if over else Method("distilled", method.divergence, PLAIN)


# --- words ----------------------------------------------------------------------------------


def title(table: PaperTable) -> str:
    """Return the name of a table, such as ``table1_main, qwen2-7b->1.5b``."""
    return f"{table.table}{f', {table.model}' if table.model else ''}"


def signs(table: PaperTable) -> str:
    """Return for how many rows the sign of the gain agrees."""
    gains = [row.gain for row in table.rows if row.gain]
    signed_ones = [gain for gain in gains if gain.agreement != "no sign"]
    if not signed_ones:
        return "No gain here can be set beside a published one."
    same = [gain for gain in signed_ones if gain.agreement == "same sign"]
    told = sum(gain.is_separable for gain in same)
    said = f"The gain has the paper's sign in {len(same)} of {counted(len(signed_ones), 'row')}"
    if same:
        of = f"of these {len(same)}" if len(same) > 1 else "of this one"
        said += f"; {told} {of} can be told from no gain at all"
    without = len(gains) - len(signed_ones)
    rest = f"; {counted(without, 'row')} without a sign" if without else ""
    return f"{said}{rest}."


def ranking(table: PaperTable) -> str:
    """Return how far the order of the students agrees."""
    if table.tau is None:
        return "The two orders cannot be compared: it takes two students with different means."
    return (
        f"Kendall's τ between the two orders of {counted(table.ranked, 'student')} is "
        f"{number(table.tau)}: {table.pairs - len(table.swaps)} of "
        f"{counted(table.pairs, 'pair')} stand in the paper's order."
    )


def spreads(table: PaperTable) -> str:
    """Return what varies on either side."""
    paper = (
        "the paper's ± is over five sampling seeds of one training"
        if table.has_spread
        else "the paper gives this table without a spread"
    )
    ours = f"Ours: {table.varied}; {paper}."
    if not table.has_spread:
        return ours
    return f"{ours} Training again and drawing answers again are different things."


def means(table: PaperTable) -> str:
    """Return which sets the means are over."""
    if table.is_same_sets:
        return f"Means are over {', '.join(table.sets)}."
    return (
        f"Our mean is over {', '.join(table.sets)}, the paper's over "
        f"{', '.join(table.paper_sets)}: signs and orders can be compared, figures cannot."
    )


def swap(one: Swap) -> str:
    """Return a pair that the paper orders the other way round."""
    return (
        f"{one.better} against {one.worse}: {signed(one.paper)} in the paper, "
        f"{signed(one.ours)} here"
    )
