"""Answers side by side: the items that the run kept the text of, in the run's order."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adakd.reporting.index import Index, Method, TaskInfo
from adakd.reporting.judging import Pair, pair_of
from adakd.results import ExampleRecord, Item, ScoreRecord, Store, VerdictRecord

PER_TASK = 4
"""Examples of each task on the page; the first that the run recorded, none chosen by hand."""


Said = Mapping[tuple[str, str, str, int, int | None], tuple[str, ...]]
"""Lines on an answer, by its cell's key, task, item, training seed and sampling seed."""


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


def examples(store: Store, index: Index) -> tuple[Example, ...]:
    """Return a few examples of each task, with the answers of the first seeds."""
    tasks = {task.name: task for task in index.tasks}
    by_task: dict[str, list[ExampleRecord]] = defaultdict(list)
    for record in store.of(ExampleRecord):
        by_task[record.task].append(record)
    said = _verdicts(store)
    return tuple(
        _example(record, tasks[name], index, said)
        for name, records in by_task.items()
        if name in tasks
        for record in records[:PER_TASK]
    )


def _example(
    record: ExampleRecord,
    task: TaskInfo,
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
    method: Method, record: ExampleRecord, task: TaskInfo, index: Index, said: Said
) -> Reply:
    found = next(_items(method, record, index), None)
    if found is None:
        return Reply(method, None, None)
    score, item = found
    value = None if item.value is None else item.value * task.scale
    return Reply(method, item.answer, value, said.get((score.cell.key, *_place(score, item)), ()))


def _items(
    method: Method, record: ExampleRecord, index: Index
) -> Iterator[tuple[ScoreRecord, Item]]:
    """Yield the item in the method's runs, first seeds first."""
    for seed in index.all_seeds:
        for score in index.scores.get((method, seed, record.task), ()):
            yield from ((score, item) for item in score.items if item.id == record.item)


def _place(score: ScoreRecord, item: Item) -> Pair:
    return score.task, item.id, score.cell.seed, score.sampling_seed


def _verdicts(store: Store) -> Said:
    """Return what judges said of every answer, by its cell and place."""
    words = {"candidate": "preferred it", "opponent": "preferred the other"}
    said: dict[tuple[str, str, str, int, int | None], tuple[str, ...]] = {}
    for record in store.of(VerdictRecord):
        place = (record.candidate.key, *pair_of(record))
        judge = record.judge.partition("@")[0]
        where = "shown first" if record.candidate_first else "shown second"
        verdict = words.get(record.verdict, record.verdict)
        reason = f": {record.reason}" if record.reason else ""
        line = f"{judge} against {record.against}, {where}: {verdict}{reason}"
        said[place] = (*said.get(place, ()), line)
    return said
