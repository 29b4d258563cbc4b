"""Verdict records -> judged pairs of answers, for every judge and for every jury of several."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adakd.config.judge import Outcome
from adakd.judging.comparisons import REFERENCE
from adakd.judging.outcomes import combined, outcome, soft_points
from adakd.planning import Cell
from adakd.reporting.index import SEEDED, Index, Method
from adakd.stats import PairResult
from adakd.store import Store
from adakd.store.records import ExampleRecord, Item, JudgeRecord, VerdictRecord

Orders = tuple[VerdictRecord, ...]
"""What a judge said of a pair: a verdict in each order."""


@dataclass(frozen=True)
class Place:
    """What both orders of a pair share, whoever judges it."""

    against: str
    candidate: str
    """The cell's key."""
    opponent: str | None
    task: str
    item: str
    sampling_seed: int | None

    @classmethod
    def of(cls, record: VerdictRecord) -> "Place":
        """Return the place of a verdict."""
        return cls(
            against=record.against,
            candidate=record.candidate.key,
            opponent=record.opponent.key if record.opponent else None,
            task=record.task,
            item=record.item,
            sampling_seed=record.sampling_seed,
        )

    @property
    def prompt(self) -> tuple[str, str]:
        """Task and item: what is resampled together."""
        return self.task, self.item


@dataclass(frozen=True)
class Side:
    """One of the two answers of a pair."""

    method: Method
    text: str | None
    """None where the records do not hold it."""
    value: float | None = None
    """The first metric of the answer, as it is stored."""


@dataclass(frozen=True)
class JudgedPair:
    """Two answers and what one judge, or one jury, said of them."""

    judge: str
    place: Place
    seed: int
    """Of the side that was trained with several: a teacher meets students of every seed."""
    candidate: Side
    opponent: Side
    orders: Orders
    outcome: Outcome
    said: tuple[Orders, ...]
    """The judge's own verdicts again, or those of each member of a jury."""
    higher_is_better: bool = True
    """Of the metric of both answers."""

    @property
    def contest(self) -> tuple[str, str, Method, Method]:
        """Return the row that the pair belongs to: judge, kind of opponent and both methods."""
        return self.judge, self.place.against, self.candidate.method, self.opponent.method

    @property
    def length_difference(self) -> int | None:
        """Words of the candidate's answer minus words of the opponent's."""
        if self.candidate.text is None or self.opponent.text is None:
            return None
        return len(self.candidate.text.split()) - len(self.opponent.text.split())

    @property
    def preferred_by_metric(self) -> Outcome | None:
        """Return which answer has the better value; None where one has none."""
        mine, other = self.candidate.value, self.opponent.value
        if mine is None or other is None:
            return None
        if not self.higher_is_better:
            mine, other = other, mine
        return "win" if mine > other else "loss" if mine < other else "tie"

    @property
    def result(self) -> PairResult:
        """Return the pair as statistics want it."""
        return PairResult(
            prompt=self.place.prompt,
            seed=self.seed,
            outcome=self.outcome,
            points=soft_points(self.orders),
            length_difference=self.length_difference,
        )


@dataclass(frozen=True)
class Verdicts:
    """Everything that was judged."""

    judges: tuple[JudgeRecord, ...]
    """Those that said anything, juries first: they come before their parts."""
    pairs: Mapping[str, tuple[JudgedPair, ...]]
    """By the judge's key."""
    records: tuple[VerdictRecord, ...]
    """All verdicts of the folder, those of earlier settings too."""


def judge_records(store: Store, verdicts: Iterable[VerdictRecord]) -> tuple[JudgeRecord, ...]:
    """Return every judge of the records, juries first.

    A judge that is known by its verdicts alone gets a record that says so.
    """
    known = {record.key: record for record in store.of(JudgeRecord)}
    for verdict in verdicts:
        if verdict.judge not in known:
            known[verdict.judge] = _unrecorded(verdict.judge)
    return tuple(sorted(known.values(), key=lambda record: not record.members))


def verdicts(store: Store, index: Index) -> Verdicts:
    """Return what the judges of the records said of answers of the last run's settings."""
    records = tuple(store.of(VerdictRecord))
    by_place: dict[Place, dict[str, dict[bool, VerdictRecord]]] = {}
    for record in records:
        cells = [cell for cell in (record.candidate, record.opponent) if cell]
        if all(index.is_current(cell) for cell in cells):
            said = by_place.setdefault(Place.of(record), {}).setdefault(record.judge, {})
            said[record.candidate_first] = record
    answers, judges = _Answers(store, index), judge_records(store, records)
    pairs = {
        judge.key: tuple(
            _pair(judge.key, place, said, answers) for place, said in _said(judge, by_place)
        )
        for judge in judges
    }
    asked = tuple(judge for judge in judges if pairs[judge.key])
    return Verdicts(asked, {judge.key: pairs[judge.key] for judge in asked}, records)


def _said(
    judge: JudgeRecord, by_place: Mapping[Place, Mapping[str, Mapping[bool, VerdictRecord]]]
) -> Iterator[tuple[Place, tuple[Orders, ...]]]:
    """Yield what a judge, or each member of a jury that was asked, said of every pair.

    A jury has sat where at least two of its members were asked about the same kind of opponent.
    """
    asked = judge.members or (judge.key,)
    found = [
        (place, tuple(tuple(said[one].values()) for one in asked if one in said))
        for place, said in by_place.items()
    ]
    least = min(len(asked), 2)
    sat = {place.against for place, said in found if len(said) >= least}
    yield from ((place, said) for place, said in found if said and place.against in sat)


def _pair(judge: str, place: Place, said: tuple[Orders, ...], answers: "_Answers") -> JudgedPair:
    orders = said[0] if said[0][0].judge == judge else tuple(combined(said, judge))
    first = orders[0]
    return JudgedPair(
        judge=judge,
        place=place,
        seed=_seed(first),
        candidate=answers.side(first.candidate, place),
        opponent=answers.side(first.opponent, place),
        orders=orders,
        outcome=outcome(orders),
        said=said,
        higher_is_better=answers.higher_is_better,
    )


def _seed(record: VerdictRecord) -> int:
    cells = [cell for cell in (record.candidate, record.opponent) if cell]
    return next((cell.seed for cell in cells if cell.role in SEEDED), cells[0].seed)


class _Answers:
    """The answers of a run by cell, task, sampling seed and item, with their first metric."""

    def __init__(self, store: Store, index: Index) -> None:
        self._items: dict[tuple[str, str, int | None], dict[str, Item]] = defaultdict(dict)
        self.higher_is_better = index.metric is None or index.metric.higher_is_better
        columns = {task.key for task in index.sets}
        for (_, _, column), records in index.scores.items():
            for score in records if column in columns else ():
                place = (score.cell.key, score.task, score.sampling_seed)
                self._items[place] = {item.id: item for item in score.items}
        self._references = {
            (example.task, example.item): example.reference for example in store.of(ExampleRecord)
        }

    def side(self, cell: Cell | None, place: Place) -> Side:
        """Return the answer of a cell, or the reference where there is none."""
        if cell is None:
            return Side(Method(REFERENCE), self._references.get(place.prompt) or None)
        item = self._items[cell.key, place.task, place.sampling_seed].get(place.item)
        if item is None:
            return Side(Method.of(cell), None)
        return Side(Method.of(cell), item.answer, item.value)


def grouped(
    pairs: Iterable[JudgedPair],
) -> dict[tuple[str, str, Method, Method], Sequence[JudgedPair]]:
    """Return the pairs by the row that they belong to."""
    groups: dict[tuple[str, str, Method, Method], list[JudgedPair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.contest].append(pair)
    return dict(groups)


def _unrecorded(key: str) -> JudgeRecord:
    name = key.partition("@")[0]
    return JudgeRecord(key=key, name=name, description="", backend="unknown", mode="unknown")
