"""Single items: both answers and all verdicts on them, with filters."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import accumulate, chain, zip_longest
from typing import Literal
from zlib import crc32

from adakd.config.judge import Outcome
from adakd.judging.comparisons import AGAIN, REFERENCE
from adakd.reporting.passages import LONGEST, Passage
from adakd.reporting.sections.answer_texts import LONG, is_repetitive
from adakd.reporting.sections.base import Context
from adakd.reporting.verdicts import JudgedAnswer, JudgedComparison, Verdicts
from adakd.store.records import ExampleRecord, TaskRecord, VerdictRecord

MOST = 200
"""Most items on the page: the records hold all of them."""
ROOM = 500_000
"""Most characters of all their texts together."""
ALIKE = 0.1
"""Answers whose lengths differ by at most this share count as equally long."""
_ENDS = frozenset(".!?…:;)]}>\"'`”’»*")

Agrees = Literal["disagrees", "agrees", "no preference"]


@dataclass(frozen=True)
class ShownAnswer:
    """One of the two answers."""

    method: str
    text: Passage | None
    value: float | None
    words: int | None
    marks: tuple[str, ...]
    """Visible faults, such as ``empty``."""


@dataclass(frozen=True)
class ShownVerdict:
    """The verdict of a judge in one order."""

    judge: str
    order: str
    verdict: str
    probabilities: tuple[float, float, float] | None
    """Of candidate, opponent and tie."""
    seconds: float
    reason: Passage | None


@dataclass(frozen=True)
class BrowsedItem:
    """A comparison of two answers with all verdicts on it."""

    classes: str
    """CSS classes, one for each facet; a letter and a number."""
    judge: str
    outcome: Outcome
    task: str
    item: str
    seed: int
    agrees: Agrees
    question: Passage | None
    reference: Passage | None
    candidate: ShownAnswer
    opponent: ShownAnswer
    by_member: tuple[tuple[ShownVerdict, ...], ...]
    """Both orders of the judge, or of each member of a jury."""

    @property
    def shows_reference(self) -> bool:
        """Whether the reference is shown beside the question: it is known and not the opponent."""
        return self.reference is not None and self.opponent.method != REFERENCE


@dataclass(frozen=True)
class Option:
    """One value to filter by."""

    css: str
    label: str
    count: int


@dataclass(frozen=True)
class Facet:
    """A property that items can be filtered by."""

    css: str
    label: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Browser:
    """The items on the page."""

    items: tuple[BrowsedItem, ...]
    facets: tuple[Facet, ...]
    total: int
    """Comparisons that could be shown."""
    metric: TaskRecord | None
    """The metric of the answers; None if nothing was scored."""


def items(context: Context) -> Browser | None:
    """Choose items from all judges, methods and outcomes; disagreement with the metric first."""
    verdicts, store, metric = context.verdicts, context.store, context.index.metric
    comparisons = [
        comparison
        for of_judge in verdicts.comparisons.values()
        for comparison in of_judge
        if comparison.id.against != AGAIN and comparison.outcome != "identical"
    ]
    texts = {(record.task, record.item): record for record in store.of(ExampleRecord)}
    chosen = sorted(_fitting(_spread(comparisons)[:MOST], texts), key=_interest)
    facets = tuple(_facets(chosen, verdicts, metric.title if metric else ""))
    found = tuple(_item(comparison, facets, texts, verdicts) for comparison in chosen)
    shown = tuple(facet for facet, _ in facets if len(facet.options) > 1)
    return Browser(found, shown, len(comparisons), metric) if found else None


def agrees_with_metric(comparison: JudgedComparison) -> Agrees:
    """Return whether the judge prefers the answer with the better value of the metric."""
    sides = {comparison.outcome, comparison.preferred_by_metric}
    if not sides <= {"win", "loss"}:
        return "no preference"
    return "agrees" if len(sides) == 1 else "disagrees"


def marks(text: str | None) -> tuple[str, ...]:
    """Return the visible faults of an answer."""
    words = (text or "").split()
    found = {
        "empty": text is not None and not words,
        "repetitive": is_repetitive(len(words), len(set(words))),
        "may be cut": len(words) >= LONG and _is_cut(text or ""),
    }
    return tuple(name for name, is_so in found.items() if is_so)


def _is_cut(text: str) -> bool:
    """Whether a long text ends within a sentence; lists need no full stop."""
    last = text.strip().splitlines()[-1].strip()
    is_listed = last[:1] in "-*•" or last[:1].isdigit()
    return last[-1] not in _ENDS and not is_listed


def _spread(comparisons: Iterable[JudgedComparison]) -> list[JudgedComparison]:
    """Order comparisons so that any first part of them has all judges, rows and outcomes."""
    order = sorted(comparisons, key=lambda one: crc32(repr((one.judge, *astuple(one.id))).encode()))
    of_outcomes = _in_turn(order, lambda one: (*one.row, one.outcome))
    return _in_turn(of_outcomes, lambda one: one.judge)


def _fitting(
    comparisons: Sequence[JudgedComparison], examples: Mapping[tuple[str, str], ExampleRecord]
) -> Sequence[JudgedComparison]:
    """Return the first comparisons, as many as the page has room for, and at least one."""
    characters = accumulate(_characters(one, examples.get(one.id.prompt)) for one in comparisons)
    return comparisons[: max(sum(so_far <= ROOM for so_far in characters), 1)]


def _characters(comparison: JudgedComparison, example: ExampleRecord | None) -> int:
    texts = [comparison.candidate.text, comparison.opponent.text]
    texts += [example.question, example.reference] if example else []
    texts += [verdict.reason for orders in comparison.by_member for verdict in orders]
    return sum(min(len(text or ""), LONGEST) for text in texts)


def _in_turn(
    comparisons: Iterable[JudgedComparison], group: Callable[[JudgedComparison], object]
) -> list[JudgedComparison]:
    """Take from every group in turn, each in its own order."""
    groups: dict[object, list[JudgedComparison]] = {}
    for one in comparisons:
        groups.setdefault(group(one), []).append(one)
    taken = chain.from_iterable(zip_longest(*groups.values()))
    return [one for one in taken if one is not None]


def _interest(pair: JudgedComparison) -> tuple[int, int, float]:
    """Sort disagreement with the metric first, the largest difference first, then by outcome."""
    kinds: Sequence[Outcome] = ("failed", "flip", "loss", "win", "tie")
    order: Sequence[Agrees] = ("disagrees", "no preference", "agrees")
    distance = abs((pair.candidate.value or 0) - (pair.opponent.value or 0))
    return order.index(agrees_with_metric(pair)), kinds.index(pair.outcome), -distance


# --- filters --------------------------------------------------------------------------------


def _facets(
    comparisons: Sequence[JudgedComparison], verdicts: Verdicts, metric: str
) -> Iterator[tuple[Facet, Callable[[JudgedComparison], str]]]:
    """Yield every facet, with the function that gives its value for a comparison."""
    values: Sequence[tuple[str, str, Callable[[JudgedComparison], str]]] = (
        ("o", "Outcome", lambda one: one.outcome),
        ("r", metric, lambda one: _AGREES[agrees_with_metric(one)]),
        ("j", "Judge", lambda one: verdicts.name(one.judge)),
        ("m", "Method", lambda one: str(one.candidate.method)),
        ("a", "Against", lambda one: str(one.opponent.method)),
        ("t", "Set", lambda one: one.id.task),
        ("l", "Length", _length),
    )
    for css, label, value in values:
        counts = Counter(value(one) for one in comparisons)
        options = (
            Option(f"{css}{n}", name, count) for n, (name, count) in enumerate(counts.most_common())
        )
        yield Facet(css, label, tuple(options)), value


_AGREES: Mapping[Agrees, str] = {
    "disagrees": "judge prefers the worse",
    "agrees": "judge prefers the better",
    "no preference": "no preference",
}


def _length(comparison: JudgedComparison) -> str:
    """Return whether the candidate's answer is the longer one."""
    difference = comparison.length_difference
    if difference is None:
        return "unknown"
    answers = (comparison.candidate, comparison.opponent)
    longest = max(len((answer.text or "").split()) for answer in answers)
    if abs(difference) <= ALIKE * longest:
        return "equally long"
    return "candidate longer" if difference > 0 else "candidate shorter"


# --- one item -------------------------------------------------------------------------------


def _item(
    comparison: JudgedComparison,
    facets: Sequence[tuple[Facet, Callable[[JudgedComparison], str]]],
    texts: Mapping[tuple[str, str], ExampleRecord],
    verdicts: Verdicts,
) -> BrowsedItem:
    values = [(facet, value(comparison)) for facet, value in facets]
    example = texts.get(comparison.id.prompt)
    return BrowsedItem(
        classes=" ".join(o.css for f, value in values for o in f.options if o.label == value),
        judge=verdicts.name(comparison.judge),
        outcome=comparison.outcome,
        task=comparison.id.task,
        item=comparison.id.item,
        seed=comparison.seed,
        agrees=agrees_with_metric(comparison),
        question=Passage.of(example.question if example else None),
        reference=Passage.of((example.reference or None) if example else None),
        candidate=_answer(comparison.candidate),
        opponent=_answer(comparison.opponent),
        by_member=tuple(
            tuple(_verdict(record, comparison, verdicts.name(record.judge)) for record in orders)
            for orders in comparison.by_member
        ),
    )


def _answer(side: JudgedAnswer) -> ShownAnswer:
    words = None if side.text is None else len(side.text.split())
    return ShownAnswer(str(side.method), Passage.of(side.text), side.value, words, marks(side.text))


def _verdict(record: VerdictRecord, comparison: JudgedComparison, judge: str) -> ShownVerdict:
    mine, other = str(comparison.candidate.method), str(comparison.opponent.method)
    words = {"candidate": f"prefers {mine}", "opponent": f"prefers {other}", "tie": "a tie"}
    order = f"{mine if record.candidate_first else other} shown first"
    verdict = words.get(record.verdict, record.verdict)
    if record.score is not None:
        order = f"{mine if record.candidate_first else other} shown alone"
        verdict = f"rated {record.score:g}"
    return ShownVerdict(
        judge=judge,
        order=order,
        verdict=verdict,
        probabilities=record.probabilities,
        seconds=record.seconds,
        reason=Passage.of(record.reason or None),
    )
