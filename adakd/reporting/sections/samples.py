"""Sample answers side by side: the items whose text the run recorded, in its order."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adakd.judging.comparisons import AGAIN
from adakd.reporting.index import Index, Method
from adakd.reporting.passages import Passage
from adakd.reporting.scorings import Scoring
from adakd.reporting.sections.base import Context
from adakd.store.records import ExampleRecord, Item, ScoreRecord, TaskRecord, VerdictRecord

PER_TASK = 2
"""Samples of each task on the page: the first that the run recorded, none chosen by hand."""

LONGEST = 600
"""Most characters of a judge's reason; the full text is in the records."""
ARMS = 6
"""Most adaptive arms of a divergence whose answers are on the page."""
DIVERGENCES = 12
"""Most divergences whose answers are on the page."""
_AnswerId = tuple[str, str, str, int | None]
"""An answer's cell, task, item and sampling seed."""
VerdictLines = Mapping[_AnswerId, tuple[str, ...]]
"""The verdicts on each answer, in words."""


@dataclass(frozen=True)
class SampleAnswer:
    """The answer of one method."""

    method: Method
    text: Passage | None
    """None if no answer was recorded."""
    value: float | None
    record: str = ""
    """The key of the record that has the whole text."""
    verdicts: tuple[str, ...] = ()
    """The verdicts of judges, such as ``rule against plain, shown first: tie``."""


@dataclass(frozen=True)
class Sample:
    """A question with its reference and the answers of every method."""

    task: str
    unit: str
    item: str
    question: Passage | None
    reference: Passage | None
    """None where the item has none."""
    record: str
    """The key of the record that has question and reference."""
    controls: tuple[SampleAnswer, ...]
    by_divergence: tuple[tuple[str, tuple[SampleAnswer, ...]], ...]
    """For each divergence the answers of its first arms, plain first."""
    hidden: int
    """Number of arms whose answers are left out."""


@dataclass(frozen=True)
class Samples:
    """The samples of all tasks."""

    samples: tuple[Sample, ...]


def samples(context: Context) -> Samples:
    """Return a few samples of each task, with the answers of the first seeds."""
    store, tasks = context.store, {task.name: task for task in context.index.sets}
    by_task: dict[str, dict[str, ExampleRecord]] = defaultdict(dict)
    for record in store.of(ExampleRecord):
        by_task[record.task].setdefault(record.item, record)  # judging may record it again
    lines = _verdict_lines(context.verdicts.records)
    return Samples(
        tuple(
            _sample(record, tasks[name], context, lines)
            for name, records in by_task.items()
            if name in tasks
            for record in list(records.values())[:PER_TASK]
        )
    )


def _sample(
    record: ExampleRecord,
    task: TaskRecord,
    context: Context,
    lines: VerdictLines,
) -> Sample:
    grouped: dict[str, list[Method]] = defaultdict(list)
    for method in context.index.methods:
        grouped[method.divergence or ""].append(method)
    controls = grouped.pop("", [])

    def answers(methods: Sequence[Method]) -> tuple[SampleAnswer, ...]:
        return tuple(_answer(method, record, task, context, lines) for method in methods)

    shown = dict(list(grouped.items())[:DIVERGENCES])
    arms = sum(map(len, grouped.values()))

    return Sample(
        task=task.name,
        unit=task.unit,
        item=record.item,
        question=Passage.of(record.question),
        reference=Passage.of(record.reference or None),
        record=record.key,
        controls=answers(controls),
        by_divergence=tuple((name, answers(of[: ARMS + 1])) for name, of in shown.items()),
        hidden=arms - sum(len(of[: ARMS + 1]) for of in shown.values()),
    )


def _answer(
    method: Method, record: ExampleRecord, task: TaskRecord, context: Context, lines: VerdictLines
) -> SampleAnswer:
    scoring = next(_scorings(method, record, task, context.index), None)
    score = context.store.get(ScoreRecord, scoring.key) if scoring else None
    if score is None:
        return SampleAnswer(method, None, None)
    items = context.store.with_texts(score).items
    item = next(item for item in items if item.id == record.item)
    value = None if item.value is None else item.value * task.scale
    verdicts = lines.get(_answer_id(score, item), ())
    return SampleAnswer(method, Passage.of(item.answer), value, score.key, verdicts)


def _scorings(
    method: Method, record: ExampleRecord, task: TaskRecord, index: Index
) -> Iterator[Scoring]:
    """Yield the scorings of a method that have the item, first seeds first."""
    for seed in index.all_seeds:
        for scoring in index.scores.get((method, seed, task.key), ()):
            if record.item in scoring.ids:
                yield scoring


def _answer_id(score: ScoreRecord, item: Item) -> _AnswerId:
    return score.cell.key, score.task, item.id, score.sampling_seed


def _verdict_lines(records: Iterable[VerdictRecord]) -> VerdictLines:
    """Return the verdicts on every answer, in words."""
    found: dict[_AnswerId, list[str]] = defaultdict(list)
    for record in records:
        if record.against != AGAIN:
            answer = (record.candidate.key, record.task, record.item, record.sampling_seed)
            found[answer].append(_line(record))
    return {answer: tuple(lines) for answer, lines in found.items()}


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
