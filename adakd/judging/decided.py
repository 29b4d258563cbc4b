"""Pairs with a known answer, with the outcome that a judge or a jury came to."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from adakd.config.judge import Outcome
from adakd.judging.outcomes import combined, outcome
from adakd.planning import Cell
from adakd.store.records import Case, JudgeRecord, VerdictRecord, VettingRecord

_SIDES = {"right": "candidate", "wrong": "opponent"}
_NO_CELL = Cell(role="file", seed=0, key="")


@dataclass(frozen=True)
class Decided:
    """A known pair with the outcome by one judge."""

    task: str
    item: str
    case: Case
    length_difference: int
    outcome: Outcome
    """A win if the right answer was chosen in both orders."""
    slots: tuple[int, ...]
    """Of each order with a verdict: 1 for the answer shown first, -1 for the second, 0 a tie."""


def decided(judge: JudgeRecord, records: Iterable[VettingRecord]) -> Iterator[Decided]:
    """Yield the known pairs that a judge, or the members of a jury, were asked about.

    Args:
        judge: the judge.
        records: the verdicts of all judges on known pairs.
    """
    asked = judge.members or (judge.key,)
    pairs: dict[tuple[str, str, Case], dict[str, list[VettingRecord]]] = {}
    for record in records:
        if record.judge in asked:
            place = (record.task, record.item, record.case)
            pairs.setdefault(place, defaultdict(list))[record.judge].append(record)
    for (task, item, case), by_judge in pairs.items():
        first = next(iter(by_judge.values()))[0]
        orders = [[_as_verdict(record) for record in of_one] for of_one in by_judge.values()]
        both = combined(orders, judge.key) if judge.members else orders[0]
        slots = tuple(
            _SLOTS[one.verdict] * (1 if one.candidate_first else -1)
            for one in both
            if one.verdict in _SLOTS
        )
        yield Decided(task, item, case, first.length_difference, outcome(both), slots)


_SLOTS = {"candidate": 1, "opponent": -1, "tie": 0}


def _as_verdict(record: VettingRecord) -> VerdictRecord:
    """Return the verdict with the right answer as the candidate, so that one rule decides."""
    shared = record.model_dump(include={"task", "item", "score", "reason", "seconds"})
    return VerdictRecord(
        key=record.key,
        judge=record.judge,
        against=record.case,
        candidate=_NO_CELL,
        opponent=None,
        sampling_seed=None,
        words="",
        candidate_first=record.right_first,
        verdict=_SIDES.get(record.verdict, record.verdict),
        **shared,
    )
