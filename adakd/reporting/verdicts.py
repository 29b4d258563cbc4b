"""Verdict records -> judged comparisons of two answers, for every judge and every jury."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

from adakd.config.judge import Outcome
from adakd.judging.comparisons import REFERENCE
from adakd.judging.conversations import first_turn
from adakd.judging.outcomes import combined, outcome, soft_points
from adakd.planning import Cell
from adakd.reporting.index import SEEDED, Index, Method
from adakd.stats import PairResult
from adakd.store import Store
from adakd.store.records import ExampleRecord, Item, JudgeRecord, ScoreRecord, VerdictRecord

Orders = tuple[VerdictRecord, ...]
"""The verdicts of one judge on a comparison: one for each order of the answers."""


@dataclass(frozen=True)
class ComparisonId:
    """What the verdicts on one comparison share, in both orders and by all judges."""

    against: str
    candidate: str
    """The cell's key."""
    opponent: str | None
    task: str
    item: str
    sampling_seed: int | None

    @classmethod
    def of(cls, record: VerdictRecord) -> "ComparisonId":
        """Return the comparison that a verdict belongs to."""
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
        """Task and item."""
        return self.task, self.item

    @property
    def cluster(self) -> tuple[str, str]:
        """The unit of resampling: the item, with all turns of a conversation."""
        return first_turn(self.task), self.item


@dataclass(frozen=True)
class JudgedAnswer:
    """One of the two answers of a comparison."""

    method: Method
    text: str | None
    """None where the records do not hold it."""
    value: float | None = None
    """The first metric of the answer, as it is stored."""


@dataclass(frozen=True)
class JudgedComparison:
    """Two answers and the verdicts of one judge, or of one jury, on them."""

    judge: str
    id: ComparisonId
    seed: int
    """The training seed of the answer from a trained model; a teacher meets all of them."""
    candidate: JudgedAnswer
    opponent: JudgedAnswer
    orders: Orders
    outcome: Outcome
    by_member: tuple[Orders, ...]
    """The verdicts of each member of a jury; of a single judge its own ones."""
    higher_is_better: bool = True
    """Of the metric of both answers."""

    @property
    def row(self) -> tuple[str, str, Method, Method]:
        """The row of the win rates: judge, kind of opponent and both methods."""
        return self.judge, self.id.against, self.candidate.method, self.opponent.method

    @property
    def length_difference(self) -> int | None:
        """Words of the candidate's answer minus words of the opponent's."""
        if self.candidate.text is None or self.opponent.text is None:
            return None
        return len(self.candidate.text.split()) - len(self.opponent.text.split())

    @property
    def preferred_by_metric(self) -> Outcome | None:
        """The outcome by the metric alone; None if one of the answers has no value."""
        mine, other = self.candidate.value, self.opponent.value
        if mine is None or other is None:
            return None
        if not self.higher_is_better:
            mine, other = other, mine
        return "win" if mine > other else "loss" if mine < other else "tie"

    @property
    def result(self) -> PairResult:
        """The comparison as the statistics take it."""
        return PairResult(
            prompt=self.id.cluster,
            seed=self.seed,
            outcome=self.outcome,
            points=soft_points(self.orders),
            length_difference=self.length_difference,
        )


@dataclass(frozen=True)
class Verdicts:
    """All judges with their comparisons."""

    judges: tuple[JudgeRecord, ...]
    """Judges with at least one verdict, juries before their members."""
    comparisons: Mapping[str, tuple[JudgedComparison, ...]]
    """By the judge's key."""
    records: tuple[VerdictRecord, ...]
    """All verdicts of the folder, those of earlier settings too."""

    def name(self, key: str) -> str:
        """Return a judge's name, or its key where the name is ambiguous."""
        names = [judge.name for judge in self.judges]
        found = [judge.name for judge in self.judges if judge.key == key]
        return found[0] if found and names.count(found[0]) == 1 else key


def judge_records(store: Store, verdicts: Iterable[VerdictRecord]) -> tuple[JudgeRecord, ...]:
    """Return every judge of the records, juries first.

    A judge that has verdicts but no record gets one that says so.
    """
    known = {record.key: record for record in store.of(JudgeRecord)}
    for verdict in verdicts:
        if verdict.judge not in known:
            known[verdict.judge] = _unrecorded(verdict.judge)
    return tuple(sorted(known.values(), key=lambda record: not record.members))


def verdicts(store: Store, index: Index) -> Verdicts:
    """Group the verdicts on answers of the last run's settings by judge and comparison."""
    records = tuple(store.of(VerdictRecord))
    if not records:
        return Verdicts((), {}, ())
    files = {score.cell.method: score.cell.key for score in _of_files(store)}
    current = {*files.values(), *index.cells}
    by_id: dict[ComparisonId, dict[str, dict[bool, VerdictRecord]]] = {}
    for record in records:
        cells = [cell for cell in (record.candidate, record.opponent) if cell]
        if all(cell.key in current for cell in cells):
            of_judge = by_id.setdefault(ComparisonId.of(record), {}).setdefault(record.judge, {})
            of_judge[record.candidate_first] = record
    answers, judges = _Answers(store, index), judge_records(store, records)
    comparisons = {
        judge.key: tuple(
            _comparison(judge.key, id, by_member, answers)
            for id, by_member in sorted(_by_member(judge, by_id), key=_place)
        )
        for judge in judges
    }
    asked = tuple(judge for judge in judges if comparisons[judge.key])
    return Verdicts(asked, {judge.key: comparisons[judge.key] for judge in asked}, records)


def _by_member(
    judge: JudgeRecord, by_id: Mapping[ComparisonId, Mapping[str, Mapping[bool, VerdictRecord]]]
) -> Iterator[tuple[ComparisonId, tuple[Orders, ...]]]:
    """Yield the verdicts of a judge, or of each member of a jury, on every comparison.

    A jury counts for a kind of opponent if at least two of its members judged it.
    """
    members = judge.members or (judge.key,)
    found = [
        (id, tuple(_orders(by_judge[one]) for one in members if one in by_judge))
        for id, by_judge in by_id.items()
    ]
    least = min(len(members), 2)
    against = {id.against for id, by_member in found if len(by_member) >= least}
    yield from ((id, orders) for id, orders in found if orders and id.against in against)


def _place(found: tuple[ComparisonId, tuple[Orders, ...]]) -> tuple[str, ...]:
    """Return the place of a comparison among all, whatever came first."""
    return tuple(map(repr, astuple(found[0])))


def _orders(by_first: Mapping[bool, VerdictRecord]) -> Orders:
    """Return the verdicts with the candidate shown first before those with it second."""
    return tuple(by_first[first] for first in (True, False) if first in by_first)


def _comparison(
    judge: str, id: ComparisonId, by_member: tuple[Orders, ...], answers: "_Answers"
) -> JudgedComparison:
    is_own = by_member[0][0].judge == judge
    orders = by_member[0] if is_own else tuple(combined(by_member, judge))
    first = orders[0]
    return JudgedComparison(
        judge=judge,
        id=id,
        seed=_seed(first),
        candidate=answers.answer(first.candidate, id),
        opponent=answers.answer(first.opponent, id),
        orders=orders,
        outcome=outcome(orders),
        by_member=by_member,
        higher_is_better=answers.higher_is_better,
    )


def _seed(record: VerdictRecord) -> int:
    cells = [cell for cell in (record.candidate, record.opponent) if cell]
    return next((cell.seed for cell in cells if cell.role in SEEDED), cells[0].seed)


class _Answers:
    """The answers of a run by cell, task, sampling seed and item, with their first metric."""

    def __init__(self, store: Store, index: Index) -> None:
        self._store = store
        self._items: dict[tuple[str, str, int | None], dict[str, Item]] = {}
        """Read from the store when they are asked for: of most cells, none is judged."""
        self._keys: dict[tuple[str, str, int | None], str] = {}
        self.higher_is_better = index.metric is None or index.metric.higher_is_better
        for score in _of_files(store):
            self._keys[score.cell.key, score.task, None] = score.key
        columns = {task.key for task in index.sets}
        for (_, _, column), records in index.scores.items():
            for scoring in records if column in columns else ():
                place = (scoring.cell.key, scoring.task, scoring.sampling_seed)
                self._keys[place] = scoring.key
        self._references = {
            (example.task, example.item): example.reference for example in store.of(ExampleRecord)
        }

    def answer(self, cell: Cell | None, id: ComparisonId) -> JudgedAnswer:
        """Return the answer of a cell, or the reference if `cell` is None."""
        if cell is None:
            return JudgedAnswer(Method(REFERENCE), self._references.get(id.prompt) or None)
        sampling_seed = None if cell.role == "file" else id.sampling_seed
        item = self._of((cell.key, id.task, sampling_seed)).get(id.item)
        if item is None:
            return JudgedAnswer(Method.of(cell), None)
        return JudgedAnswer(Method.of(cell), item.answer, item.value)

    def _of(self, place: tuple[str, str, int | None]) -> Mapping[str, Item]:
        if place not in self._items:
            score = self._store.get(ScoreRecord, self._keys.get(place, ""))
            items = self._store.with_texts(score).items if score else ()
            self._items[place] = {item.id: item for item in items}
        return self._items[place]


def _of_files(store: Store) -> Iterator[ScoreRecord]:
    """Yield the scores of answers that were read from files."""
    yield from (score for score in store.each(ScoreRecord) if score.cell.role == "file")


def grouped(
    comparisons: Iterable[JudgedComparison],
) -> dict[tuple[str, str, Method, Method], Sequence[JudgedComparison]]:
    """Group comparisons by their row of the win rates."""
    groups: dict[tuple[str, str, Method, Method], list[JudgedComparison]] = defaultdict(list)
    for comparison in comparisons:
        groups[comparison.row].append(comparison)
    return dict(groups)


def _unrecorded(key: str) -> JudgeRecord:
    name = key.partition("@")[0]
    return JudgeRecord(key=key, name=name, description="", backend="unknown", mode="unknown")
