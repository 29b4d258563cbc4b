"""Win rates: the verdicts of each judge on each comparison, both orders of a pair combined."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adakd.reporting.index import Index, Method
from adakd.results import Store, VerdictRecord
from adakd.statistics import LEVEL, WinRate, Word, holm, outcome, win_rate

Pair = tuple[str, str, int, int | None]
"""Task, item, training seed and sampling seed: what both orders of a pair share."""


@dataclass(frozen=True)
class Contest:
    """All that one judge said of one method against one kind of opponent."""

    judge: str
    against: str
    method: Method
    rate: WinRate
    prompts: int
    seeds: int
    adjusted_p: float
    word: Word
    """Of the overall rate against one half."""
    first_preferred: float | None
    """Share of decided verdicts that chose the answer shown first; 0.5 for an unbiased judge."""
    failures: tuple[tuple[str, int], ...]
    """The commonest reasons of failures, with their counts."""


def contests(store: Store, index: Index) -> tuple[Contest, ...]:
    """Summarise the verdicts by judge, opponent and method; the words are one Holm family."""
    groups: dict[tuple[str, str, Method], list[VerdictRecord]] = defaultdict(list)
    for record in store.of(VerdictRecord):
        if index.is_current(record.candidate):
            place = (record.judge, record.against, Method.of(record.candidate))
            groups[place].append(record)
    rows = [(place, records, _rate(records)) for place, records in groups.items()]
    adjusted = holm([rate.p_value for *_, rate in rows])
    found = [
        _contest(*place, records, rate, p)
        for (place, records, rate), p in zip(rows, adjusted, strict=True)
    ]
    order = {method: number for number, method in enumerate(index.methods)}
    return tuple(sorted(found, key=lambda c: (c.judge, c.against, order.get(c.method, 0))))


def pair_of(record: VerdictRecord) -> Pair:
    """Return what both orders of a pair share."""
    return (record.task, record.item, record.candidate.seed, record.sampling_seed)


def _rate(records: Sequence[VerdictRecord]) -> WinRate:
    """Combine the orders of each pair; a prompt is a task's item, with all its seeds."""
    orders: dict[Pair, dict[bool, str]] = defaultdict(dict)
    for record in records:
        orders[pair_of(record)][record.candidate_first] = record.verdict
    return win_rate((pair[:2], outcome(list(said.values()))) for pair, said in orders.items())


def _contest(
    judge: str,
    against: str,
    method: Method,
    records: Sequence[VerdictRecord],
    rate: WinRate,
    adjusted_p: float,
) -> Contest:
    said: Word = "not separable"
    if rate.overall and adjusted_p < LEVEL:
        said = "better" if rate.overall.estimate > 0.5 else "worse"
    reasons = Counter(record.reason for record in records if record.verdict == "failed")
    return Contest(
        judge=judge,
        against=against,
        method=method,
        rate=rate,
        prompts=len({pair_of(record)[:2] for record in records}),
        seeds=len({record.candidate.seed for record in records}),
        adjusted_p=adjusted_p,
        word=said,
        first_preferred=_first_preferred(records),
        failures=tuple(reasons.most_common(3)),
    )


def _first_preferred(records: Sequence[VerdictRecord]) -> float | None:
    sides: dict[str, Literal[True, False]] = {"candidate": True, "opponent": False}
    decided = [record for record in records if record.verdict in sides]
    first = sum(sides[record.verdict] == record.candidate_first for record in decided)
    return first / len(decided) if decided else None
