"""Our results and the published ones: signs of the gains, and the order of the methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from adakd.config import Published
from adakd.planning import PLAIN
from adakd.planning.published import METRIC, PublishedRow, PublishedScore, published_rows
from adakd.reporting.families import compare
from adakd.reporting.formatting import counted, number, p_value, signed
from adakd.reporting.index import Index, Method
from adakd.reporting.paired import PairedDifference
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.scores import Score, score_table
from adakd.stats import LEVEL, OrderAgreement, order_agreement
from adakd.store.records import TaskRecord

SignAgreement = Literal["same sign", "other sign", "no sign"]
_DIGITS = 6
"""Digits of a mean; smaller differences are rounding errors."""


@dataclass(frozen=True)
class Gain:
    """A method minus another one, here and in the paper, in the mean over the sets."""

    over: Method
    ours: PairedDifference
    paper: float

    @property
    def agreement(self) -> SignAgreement:
        """Whether both signs are equal; ``no sign`` if one gain is 0 or unknown."""
        found = self.ours.difference.estimate if self.ours.difference else 0.0
        product = round(found, _DIGITS) * round(self.paper, _DIGITS)
        return "no sign" if product == 0 else "same sign" if product > 0 else "other sign"

    @property
    def is_separable(self) -> bool:
        """Whether our gain is separable from 0."""
        return self.ours.conclusion in ("better", "worse")


@dataclass(frozen=True)
class PaperRow:
    """One method: our scores and the published ones, by column."""

    method: Method
    name: str
    """The name in the paper's table."""
    fields: tuple[tuple[Score, PublishedScore], ...]
    gain: Gain | None


@dataclass(frozen=True)
class Swap:
    """Two methods in the opposite order in the paper."""

    better: Method
    """The better one in the paper."""
    worse: Method
    paper: float
    ours: float
    """Our difference, which is below 0."""


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables with our results."""

    table: str
    model: str | None
    over: str | None
    """The baseline of all gains; None if it is the plain arm of each method."""
    unit: str
    columns: tuple[str, ...]
    """The sets in both tables, and the mean."""
    sets: tuple[str, ...]
    """The sets of our mean."""
    paper_sets: tuple[str, ...]
    """The sets of the paper's mean in this table."""
    varied: str
    """The seeds behind our ±."""
    has_spread: bool
    """Whether the paper gives a spread."""
    rows: tuple[PaperRow, ...]
    ranked: int
    """Students with a mean in both tables."""
    order: OrderAgreement
    pairs: int
    """Pairs of these students with different means in both tables."""
    swaps: tuple[Swap, ...]

    @property
    def is_same_sets(self) -> bool:
        """Whether both means are over the same sets."""
        return set(self.sets) == set(self.paper_sets)

    @property
    def has_gains(self) -> bool:
        """Whether any row has a gain."""
        return any(row.gain for row in self.rows)

    @property
    def title(self) -> str:
        """The name of the table, such as ``table1_main, qwen2-7b->1.5b``."""
        return f"{self.table}{f', {self.model}' if self.model else ''}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """The agreement of signs and of the order."""
        return signs(self), ranking(self)

    @property
    def notes(self) -> tuple[str, ...]:
        """The seeds behind the spreads, and the sets of the means."""
        return spreads(self), means(self)

    @property
    def swap_lines(self) -> tuple[str, ...]:
        """The pairs in the opposite order."""
        return tuple(map(swap, self.swaps))


@dataclass(frozen=True)
class Paper:
    """All published tables that the suite names."""

    tables: tuple[PaperTable, ...]


def paper(context: Context) -> Paper | None:
    """Return our results with the published ones; None if the suite names no table."""
    tables = paper_tables(context)
    return Paper(tables) if tables else None


def paper_tables(context: Context) -> tuple[PaperTable, ...]:
    """Return the published tables that the run's suite names, with our results.

    The gains of all tables are one family, but for those that the answer has too.
    """
    index = context.index
    sets = [task for task in index.of_sort("answers") if task.metric == METRIC]
    sections = index.suite.paper if index.suite and sets else ()
    found = [_Matched.of(index, one, sets) for one in sections if not one.judge]
    wanted = [(on, off, each.ours) for each in found for on, off in each.gains]
    gains = iter(compare(context, "gains in the paper's tables", wanted))
    return tuple(_table(index, each, {pair: next(gains) for pair in each.gains}) for each in found)


@dataclass(frozen=True)
class _Matched:
    """One of the paper's tables and the methods and sets that this run has of it."""

    section: Published
    published: Mapping[Method, PublishedRow]
    sets: Sequence[TaskRecord]
    """All sets of the run with the metric of the paper."""
    shared: Sequence[TaskRecord]
    """Those that the table has too."""
    paper_sets: tuple[str, ...]
    """The sets of the paper's mean."""
    gains: tuple[tuple[Method, Method], ...]
    """Each method that has a baseline in the table, with it."""

    @classmethod
    def of(cls, index: Index, section: Published, sets: Sequence[TaskRecord]) -> "_Matched":
        known = {str(method): method for method in index.methods}
        rows = published_rows(section)
        published = {known[name]: row for name, row in rows.items() if name in known}
        names = next((tuple(row.sets) for row in published.values()), ())
        shared = [task for task in sets if task.name in names]
        pairs = [(method, _baseline(method, section.over, known)) for method in published]
        return cls(
            section=section,
            published=published,
            sets=sets,
            shared=shared,
            paper_sets=tuple(task.name for task in shared) or names,
            gains=tuple((on, off) for on, off in pairs if off in published and off and on != off),
        )

    @property
    def ours(self) -> Sequence[TaskRecord]:
        """The sets of our mean."""
        return self.shared or self.sets

    def average(self, method: Method) -> float:
        """Return the paper's mean; over all of its sets, the printed one."""
        return _average(self.published[method], self.paper_sets)


def _table(
    index: Index, matched: _Matched, differences: Mapping[tuple[Method, Method], PairedDifference]
) -> PaperTable:
    section, published, ours = matched.section, matched.published, matched.ours
    averages = {method: matched.average(method) for method in published}
    gains = {
        on: Gain(off, found, averages[on] - averages[off])
        for (on, off), found in differences.items()
    }
    columns = [task.name for task in matched.shared]
    scores = score_table(index, ours, average=True)
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
        unit=matched.sets[0].unit,
        columns=(*columns, "mean"),
        sets=tuple(task.name for task in ours),
        paper_sets=matched.paper_sets,
        varied=scores.varied,
        has_spread=any(published.std is not None for row in rows for _, published in row.fields),
        rows=rows,
        ranked=len(ranked),
        order=order,
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
    """Return the paper's mean over some of its sets; over all of them, the printed mean."""
    if set(names) == set(row.sets):
        return row.average
    return mean(row.sets[name].mean for name in names)


def _fields(
    scores: Sequence[Score], row: PublishedRow, columns: Sequence[str], average: float
) -> tuple[tuple[Score, PublishedScore], ...]:
    """Pair our scores with the published ones; the last pair is the means."""
    found = [(score, row.sets[name]) for score, name in zip(scores, columns, strict=False)]
    return (*found, (scores[-1], PublishedScore(average)))


def _mean_of(row: PaperRow) -> float | None:
    return row.fields[-1][0].mean


def _baseline(method: Method, over: str | None, known: Mapping[str, Method]) -> Method | None:
    """Return the baseline of a distilled method's gain: a named method, or its plain arm."""
    if method.role != "distilled":
        return None
    return known.get(over) if over else Method("distilled", method.divergence, PLAIN)


# --- sentences ------------------------------------------------------------------------------


def signs(table: PaperTable) -> str:
    """Return the number of rows whose gains have the same sign."""
    gains = [row.gain for row in table.rows if row.gain]
    signed_ones = [gain for gain in gains if gain.agreement != "no sign"]
    if not signed_ones:
        return "No gain here can be compared with a published one."
    same = [gain for gain in signed_ones if gain.agreement == "same sign"]
    other = [gain for gain in signed_ones if gain.agreement == "other sign"]
    separable = sum(gain.is_separable for gain in same)
    opposite = sum(gain.is_separable for gain in other)
    found = f"The gain has the paper's sign in {len(same)} of {counted(len(signed_ones), 'row')}"
    if same:
        verb = "is" if separable == 1 else "are"
        found += f"; {separable} of these {verb} separable from no gain"
    if other:
        verb = "is" if opposite == 1 else "are"
        found += f"; of the {len(other)} with the other sign, {opposite} {verb} separable"
    without = len(gains) - len(signed_ones)
    rest = f"; {counted(without, 'row')} without a sign" if without else ""
    return f"{found}{rest}."


def ranking(table: PaperTable) -> str:
    """Return the agreement of the two orders of the students."""
    order, p = table.order, p_value(table.order.p_value)
    if order.tau is None:
        return "The two orders cannot be compared: fewer than two students have different means."
    least = ""
    if order.least_p >= LEVEL:
        least = f", and never below {p_value(order.least_p)} with so few"
    return (
        f"Kendall's τ between the two orders of {counted(table.ranked, 'student')} is "
        f"{number(order.tau)} ({'p ' if p.startswith('<') else 'p = '}{p}{least}): "
        f"{table.pairs - len(table.swaps)} of {counted(table.pairs, 'pair')} are in the paper's "
        "order."
    )


def spreads(table: PaperTable) -> str:
    """Return the seeds behind the spread on either side."""
    paper = (
        "the paper's ± is over five seeds, and whether of training or of sampling is open"
        if table.has_spread
        else "the paper gives this table without a spread"
    )
    ours = f"Ours: {table.varied}; {paper}."
    if not table.has_spread:
        return ours
    return (
        f"{ours} Training again and sampling answers again are different things: the released "
        "scripts train with a seed that varies, and sample with a fixed one."
    )


def means(table: PaperTable) -> str:
    """Return the sets of the means."""
    if table.is_same_sets:
        return f"Means are over {', '.join(table.sets)}."
    return (
        f"Our mean is over {', '.join(table.sets)}, the paper's over "
        f"{', '.join(table.paper_sets)}: signs and orders can be compared, scores cannot."
    )


def swap(one: Swap) -> str:
    """Return a pair of methods in the opposite order, with both differences."""
    return (
        f"{one.better} against {one.worse}: {signed(one.paper)} in the paper, "
        f"{signed(one.ours)} here"
    )
