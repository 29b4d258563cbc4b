"""Single items to look at: both answers, both orders' verdicts, and what to filter them by."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Literal
from zlib import crc32

from adakd.config.judge import Outcome
from adakd.judging.comparisons import AGAIN
from adakd.reporting.judges.judging import Judging
from adakd.reporting.judges.verdicts import JudgedPair, Orders, Side, Verdicts
from adakd.reporting.sections.answer_texts import LONG, repeats
from adakd.store import Store
from adakd.store.records import ExampleRecord, TaskRecord, VerdictRecord

MOST = 200
"""Items on the page: each is a few kilobytes, and all of them are in ``results.jsonl``."""
LONGEST = 2000
"""Characters of a text on the page."""
ALIKE = 0.1
"""Answers whose lengths differ by no more than this share are alike."""
_ENDS = frozenset(".!?…:;)]}>\"'`”’»*")

Agrees = Literal["disagrees", "agrees", "no preference"]


@dataclass(frozen=True)
class Text:
    """A text as the page shows it, cut where it is very long."""

    shown: str
    hidden: int = 0
    """Characters that are left out."""

    @classmethod
    def of(cls, text: str | None) -> "Text | None":
        """Return a text cut to what the page has room for."""
        return None if text is None else cls(text[:LONGEST], max(len(text) - LONGEST, 0))


@dataclass(frozen=True)
class Shown:
    """One of the two answers."""

    method: str
    text: Text | None
    value: float | None
    words: int | None
    marks: tuple[str, ...]
    """What is wrong with it at first sight."""


@dataclass(frozen=True)
class Said:
    """What a judge said in one order."""

    judge: str
    order: str
    verdict: str
    probabilities: tuple[float, float, float] | None
    """Of candidate, opponent and tie."""
    seconds: float
    reason: Text | None


@dataclass(frozen=True)
class BrowsedItem:
    """A pair of answers with everything that was said of it."""

    classes: str
    """CSS classes, one a facet; made of numbers alone."""
    judge: str
    outcome: Outcome
    task: str
    item: str
    seed: int
    agrees: Agrees
    question: Text | None
    reference: Text | None
    candidate: Shown
    opponent: Shown
    said: tuple[tuple[Said, ...], ...]
    """Of the judge, or of each member of a jury, in both orders."""


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
    """Items that could be shown."""
    metric: TaskRecord | None
    """The metric of the answers; None where nothing was scored."""


def browser(
    store: Store, verdicts: Verdicts, judging: Judging, metric: TaskRecord | None
) -> Browser:
    """Choose items over all judges, methods and outcomes alike; disagreement comes first."""
    pairs = [
        pair
        for of_judge in verdicts.pairs.values()
        for pair in of_judge
        if pair.place.against != AGAIN and pair.outcome != "identical"
    ]
    chosen = sorted(_spread(pairs)[:MOST], key=_interest)
    facets = tuple(_facets(chosen, judging, metric.title if metric else ""))
    texts = {(record.task, record.item): record for record in store.of(ExampleRecord)}
    items = tuple(_item(pair, facets, texts, judging) for pair in chosen)
    shown = tuple(facet for facet, _ in facets if len(facet.options) > 1)
    return Browser(items, shown, len(pairs), metric)


def agreement(pair: JudgedPair) -> Agrees:
    """Return whether the judge prefers the answer with the better value of the metric."""
    sides = {pair.outcome, pair.preferred_by_metric}
    if not sides <= {"win", "loss"}:
        return "no preference"
    return "agrees" if len(sides) == 1 else "disagrees"


def marks(text: str | None) -> tuple[str, ...]:
    """Return what is wrong with an answer at first sight."""
    words = (text or "").split()
    found = {
        "empty": text is not None and not words,
        "repeats itself": repeats(words),
        "may be cut": len(words) >= LONG and _is_cut(text or ""),
    }
    return tuple(name for name, is_so in found.items() if is_so)


def _is_cut(text: str) -> bool:
    """Whether a long text ends within a sentence; lists need no full stop."""
    last = text.strip().splitlines()[-1].strip()
    is_listed = last[:1] in "-*•" or last[:1].isdigit()
    return last[-1] not in _ENDS and not is_listed


def _spread(pairs: Iterable[JudgedPair]) -> list[JudgedPair]:
    """Order pairs so that any first part of them has all judges, rows and outcomes in it."""
    order = sorted(pairs, key=lambda pair: crc32(f"{pair.judge}{pair.place}".encode()))
    of_outcomes = _in_turn(order, lambda pair: (*pair.contest, pair.outcome))
    return _in_turn(of_outcomes, lambda pair: pair.judge)


def _in_turn(
    pairs: Iterable[JudgedPair], group: Callable[[JudgedPair], object]
) -> list[JudgedPair]:
    """Take from every group in turn, each in its own order."""
    groups: dict[object, list[JudgedPair]] = {}
    for pair in pairs:
        groups.setdefault(group(pair), []).append(pair)
    taken = chain.from_iterable(zip_longest(*groups.values()))
    return [pair for pair in taken if pair is not None]


def _interest(pair: JudgedPair) -> tuple[int, int, float]:
    """Sort disagreement with the metric first, widest gaps before others, then failures."""
    kinds: Sequence[Outcome] = ("failed", "flip", "loss", "win", "tie")
    order: Sequence[Agrees] = ("disagrees", "no preference", "agrees")
    distance = abs((pair.candidate.value or 0) - (pair.opponent.value or 0))
    return order.index(agreement(pair)), kinds.index(pair.outcome), -distance


# --- filters --------------------------------------------------------------------------------


def _facets(
    pairs: Sequence[JudgedPair], judging: Judging, metric: str
) -> Iterator[tuple[Facet, Callable[[JudgedPair], str]]]:
    """Yield every facet, with what it says of a pair."""
    values: Sequence[tuple[str, str, Callable[[JudgedPair], str]]] = (
        ("o", "Outcome", lambda pair: pair.outcome),
        ("r", metric, lambda pair: _AGREES[agreement(pair)]),
        ("j", "Judge", lambda pair: judging.name(pair.judge)),
        ("m", "Method", lambda pair: str(pair.candidate.method)),
        ("a", "Against", lambda pair: str(pair.opponent.method)),
        ("t", "Set", lambda pair: pair.place.task),
        ("l", "Length", _length),
    )
    for css, label, value in values:
        counts = Counter(value(pair) for pair in pairs)
        options = (
            Option(f"{css}{n}", name, count) for n, (name, count) in enumerate(counts.most_common())
        )
        yield Facet(css, label, tuple(options)), value


_AGREES: Mapping[Agrees, str] = {
    "disagrees": "judge prefers the worse",
    "agrees": "judge prefers the better",
    "no preference": "no preference",
}


def _length(pair: JudgedPair) -> str:
    """Return whether the candidate's answer is the longer one."""
    difference = pair.length_difference
    if difference is None:
        return "unknown"
    longest = max(len((side.text or "").split()) for side in (pair.candidate, pair.opponent))
    if abs(difference) <= ALIKE * longest:
        return "alike"
    return "candidate longer" if difference > 0 else "candidate shorter"


# --- one item -------------------------------------------------------------------------------


def _item(
    pair: JudgedPair,
    facets: Sequence[tuple[Facet, Callable[[JudgedPair], str]]],
    texts: Mapping[tuple[str, str], ExampleRecord],
    judging: Judging,
) -> BrowsedItem:
    values = [(facet, value(pair)) for facet, value in facets]
    example = texts.get(pair.place.prompt)
    return BrowsedItem(
        classes=" ".join(o.css for f, value in values for o in f.options if o.label == value),
        judge=judging.name(pair.judge),
        outcome=pair.outcome,
        task=pair.place.task,
        item=pair.place.item,
        seed=pair.seed,
        agrees=agreement(pair),
        question=Text.of(example.question if example else None),
        reference=Text.of((example.reference or None) if example else None),
        candidate=_shown(pair.candidate),
        opponent=_shown(pair.opponent),
        said=tuple(_orders(orders, pair, judging) for orders in pair.said),
    )


def _shown(side: Side) -> Shown:
    words = None if side.text is None else len(side.text.split())
    return Shown(str(side.method), Text.of(side.text), side.value, words, marks(side.text))


def _orders(orders: Orders, pair: JudgedPair, judging: Judging) -> tuple[Said, ...]:
    return tuple(_said(record, pair, judging) for record in orders)


def _said(record: VerdictRecord, pair: JudgedPair, judging: Judging) -> Said:
    mine, other = str(pair.candidate.method), str(pair.opponent.method)
    verdicts = {"candidate": f"prefers {mine}", "opponent": f"prefers {other}", "tie": "a tie"}
    order = f"{mine if record.candidate_first else other} shown first"
    verdict = verdicts.get(record.verdict, record.verdict)
    if record.score is not None:
        order = f"{mine if record.candidate_first else other} shown alone"
        verdict = f"rated {record.score:g}"
    return Said(
        judge=judging.name(record.judge),
        order=order,
        verdict=verdict,
        probabilities=record.probabilities,
        seconds=record.seconds,
        reason=Text.of(record.reason or None),
    )
