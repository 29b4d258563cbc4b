"""Answers side by side: the items that the run kept the text of, in the run's order."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from adakd.judging.comparisons import AGAIN
from adakd.reporting.index import Index, Method
from adakd.store import Store
from adakd.store.records import ExampleRecord, Item, ScoreRecord, TaskRecord, VerdictRecord

PER_TASK = 2
"""Examples of each task on the page; the first that the run recorded, none chosen by hand."""

LONGEST = 600
"""Characters of a judge's reason; all of them are in ``results.jsonl``."""
_Place = tuple[str, str, str, int | None]
"""An answer's cell, task, item and sampling seed."""
Said = Mapping[_Place, tuple[str, ...]]
"""Lines on an answer."""


@dataclass(frozen=True)
class Reply:
    """What one method answered."""

    method: Method
    text: str | None
    """None where there is no answer."""
    value: float | None
    verdicts: tuple[str, ...] = ()
    """What judges said, such as ``rule: won, shown first``."""


@dataclass(frozen=True)
class Example:
    """A question with its reference and the answers of every method."""

    task: str
    unit: str
    item: str
    question: str
    reference: str
    controls: tuple[Reply, ...]
    by_divergence: tuple[tuple[str, tuple[Reply, ...]], ...]
    """For each divergence the answers of its arms, plain first."""


def examples(store: Store, index: Index, verdicts: Iterable[VerdictRecord]) -> tuple[Example, ...]:
    """Return a few examples of each task, with the answers of the first seeds."""
    tasks = {task.name: task for task in index.sets}
    by_task: dict[str, dict[str, ExampleRecord]] = defaultdict(dict)
    for record in store.of(ExampleRecord):
        by_task[record.task].setdefault(record.item, record)  # judging may have kept it again
    said = _verdicts(verdicts)
    return tuple(
        _example(record, tasks[name], index, said)
        for name, records in by_task.items()
        if name in tasks
        for record in list(records.values())[:PER_TASK]
    )


def _example(
    record: ExampleRecord,
    task: TaskRecord,
    index: Index,
    said: Said,
) -> Example:
    replies = [_reply(method, record, task, index, said) for method in index.methods]
    grouped: dict[str, list[Reply]] = defaultdict(list)
    for reply in replies:
        if reply.method.divergence:
            grouped[reply.method.divergence].append(reply)
    return Example(
        task=task.name,
        unit=task.unit,
        item=record.item,
        question=record.question,
        reference=record.reference,
        controls=tuple(reply for reply in replies if not reply.method.divergence),
        by_divergence=tuple((name, tuple(group)) for name, group in grouped.items()),
    )


def _reply(
    method: Method, record: ExampleRecord, task: TaskRecord, index: Index, said: Said
) -> Reply:
    found = next(_items(method, record, task, index), None)
    if found is None:
        return Reply(method, None, None)
    score, item = found
    value = None if item.value is None else item.value * task.scale
    return Reply(method, item.answer, value, said.get(_place(score, item), ()))


def _items(
    method: Method, record: ExampleRecord, task: TaskRecord, index: Index
) -> Iterator[tuple[ScoreRecord, Item]]:
    """Yield the item in the method's runs, first seeds first."""
    for seed in index.all_seeds:
        for score in index.scores.get((method, seed, task.key), ()):
            yield from ((score, item) for item in score.items if item.id == record.item)


def _place(score: ScoreRecord, item: Item) -> _Place:
    return score.cell.key, score.task, item.id, score.sampling_seed


def _verdicts(records: Iterable[VerdictRecord]) -> Said:
    """Return what judges said of every answer."""
    said: dict[_Place, list[str]] = defaultdict(list)
    for record in records:
        if record.against != AGAIN:
            place = (record.candidate.key, record.task, record.item, record.sampling_seed)
            said[place].append(_line(record))
    return {place: tuple(lines) for place, lines in said.items()}


def _line(record: VerdictRecord) -> str:
    words = {"candidate": "preferred it", "opponent": "preferred the other"}
    where = "shown first" if record.candidate_first else "shown second"
    verdict = words.get(record.verdict, record.verdict)
    if record.score is not None:
        where = "shown alone" if record.candidate_first else "the other shown alone"
        verdict = f"rated {record.score:g}"
    reason = f": {record.reason[:LONGEST]}" if record.reason else ""
    judge = record.judge.partition("@")[0]
    return f"{judge} against {record.against}, {where}: {verdict}{reason}"
