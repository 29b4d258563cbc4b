"""The records of a run by method, seed and task, with the gaps and their reasons."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Literal

from pydantic import ValidationError

from adakd.config import Suite
from adakd.planning import PLAIN, Cell, method_name
from adakd.planning import SEEDED as TRAINED
from adakd.reporting.scorings import Scoring, scorings
from adakd.store import Store
from adakd.store.records import RunRecord, ScoreRecord, Sort, TaskRecord, TrainingRecord

SORTS: tuple[Sort, ...] = ("answers", "choice", "task")
SEEDED = (*TRAINED, "file")
"""Roles whose cells have training seeds; those of files share one."""


@dataclass(frozen=True)
class Method:
    """A row of the tables: a control, or an arm of a divergence."""

    role: str
    divergence: str | None = None
    arm: str = PLAIN
    longer: float = 0.0
    """Share of additional steps over the plain arm, for its longer twin."""

    @classmethod
    def of(cls, cell: Cell) -> "Method":
        """Return the row of a cell."""
        return cls(cell.role, cell.divergence, cell.arm, cell.longer)

    def __str__(self) -> str:
        """Return ``teacher``, ``reverse_kl`` or ``reverse_kl + adakd``."""
        return method_name(self.role, self.divergence, self.arm, self.longer)


Scores = dict[tuple[Method, int, tuple[str, str]], tuple[Scoring, ...]]
"""Scores by method, training seed and column (task and metric): one for each sampling seed."""


@dataclass(frozen=True)
class Gap:
    """A cell that the run asks for and that failed or lacks records."""

    what: str
    status: Literal["failed", "missing"]
    reason: str


@dataclass(frozen=True)
class Index:
    """The records of the last run's settings by method, seed and task."""

    run: RunRecord | None
    suite: Suite | None
    methods: tuple[Method, ...]
    seeds: tuple[int, ...]
    tasks: tuple[TaskRecord, ...]
    """The columns of the tables: a task with several metrics has several."""
    expected: tuple[tuple[Method, int], ...]
    trainings: dict[tuple[Method, int], TrainingRecord] = field(default_factory=dict)
    scores: Scores = field(default_factory=dict)
    neutral: tuple[Scoring, ...] = ()
    """The scores of the neutral student."""
    cells: frozenset[str] = frozenset()
    """The keys of the cells that count."""
    superseded: int = 0
    """Count of the records of settings that were changed since, which are left out."""

    @cached_property
    def all_seeds(self) -> tuple[int, ...]:
        """The training seeds of any method, controls too."""
        return tuple(dict.fromkeys(seed for _, seed in self.expected))

    def seeds_of(self, method: Method) -> tuple[int, ...]:
        """Return the training seeds of a method."""
        return self._seeds_of.get(method, ())

    @cached_property
    def _seeds_of(self) -> Mapping[Method, tuple[int, ...]]:
        found: dict[Method, list[int]] = {}
        for method, seed in self.expected:
            found.setdefault(method, []).append(seed)
        return {method: tuple(seeds) for method, seeds in found.items()}

    @property
    def is_of_files(self) -> bool:
        """Whether the answers were read from files, without any training."""
        return bool(self.methods) and all(method.role == "file" for method in self.methods)

    def is_current(self, cell: Cell) -> bool:
        """Whether `cell` belongs to the settings of the last run."""
        return cell.key in self.cells

    def pairs(self) -> Iterator[tuple[Method, Method]]:
        """Yield each adaptive arm with the plain arm of the same divergence."""
        for method in self.methods:
            if method.role == "distilled" and method.arm != PLAIN:
                yield method, Method("distilled", method.divergence)

    def of_sort(self, *sorts: Sort) -> tuple[TaskRecord, ...]:
        """Return the columns of some sorts of tasks, in the suite's order."""
        return tuple(task for task in self.tasks if task.sort in sorts)

    @cached_property
    def sets(self) -> tuple[TaskRecord, ...]:
        """The instruction sets by the first metric, which averages and comparisons go by."""
        columns = self.of_sort("answers")
        return tuple(task for task in columns if task.metric == columns[0].metric)

    @property
    def metric(self) -> TaskRecord | None:
        """The first metric of the instruction sets, as a column; None without any set."""
        return next(iter(self.sets), None)

    def failure(self, method: Method, seed: int) -> str | None:
        """Return the reason of a failed training, else None."""
        record = self.trainings.get((method, seed))
        if record is None or record.status == "done":
            return None
        after = f" after {record.steps[-1].step} steps" if record.steps else ""
        return f"{record.reason or 'no reason recorded'} (failed{after})"

    def gaps(self) -> tuple[Gap, ...]:
        """Return every failed or missing cell, and the missing tasks of the others."""
        return tuple(gap for method, seed in self.expected for gap in self._gaps_of(method, seed))

    def _gaps_of(self, method: Method, seed: int) -> Iterator[Gap]:
        has_seed = method.role in (*TRAINED, "elsewhere")
        what = f"{method}, seed {seed}" if has_seed else str(method)
        if reason := self.failure(method, seed):
            yield Gap(what, "failed", reason)
            return
        missing = [self._label(t) for t in self.tasks if (method, seed, t.key) not in self.scores]
        trained = (method, seed) in self.trainings or len(missing) < len(self.tasks)
        if not trained:
            yield Gap(what, "missing", "no record: not run yet, or the run stopped before it")
        elif missing:
            yield Gap(what, "missing", f"not scored on {', '.join(missing)}")

    def _label(self, task: TaskRecord) -> str:
        """Return the name of a column, with its metric where the task has several."""
        several = sum(other.name == task.name for other in self.tasks) > 1
        return f"{task.name} ({task.title})" if several else task.name


def index(store: Store) -> Index:
    """Return the records of a store by method, seed and task.

    The neutral student is no method of the tables: the section on controls reads it by itself.
    """
    run = store.last(RunRecord)
    suite = _suite(run)
    trained = store.current(TrainingRecord)
    scored = scorings(store.each_current(ScoreRecord))
    trainings = [training for training in trained if training.cell.role != "neutral"]
    scores = [score for score in scored if score.cell.role != "neutral"]
    found = (*(score.cell for score in scores), *(training.cell for training in trainings))
    cells = {cell.key: cell for cell in found}
    asked = {cell.key: cell for cell in run.cells if cell.role != "neutral"} if run else {}
    known = (asked | cells).values()
    expected = list(dict.fromkeys((Method.of(cell), cell.seed) for cell in known))
    return Index(
        run=run,
        suite=suite,
        methods=tuple(dict.fromkeys(method for method, _ in expected)),
        seeds=tuple(dict.fromkeys(s for m, s in expected if m.role in SEEDED)),
        tasks=_tasks(run, scores),
        expected=tuple(expected),
        trainings={(Method.of(t.cell), t.cell.seed): t for t in trainings},
        scores=_by_column(scores),
        neutral=tuple(score for score in scored if score.cell.role == "neutral"),
        cells=frozenset(cells),
        superseded=store.count(TrainingRecord)
        + store.count(ScoreRecord)
        - len(trained)
        - len(scored),
    )


def _suite(run: RunRecord | None) -> Suite | None:
    """Return the suite of a run; None if this version cannot read it any more."""
    try:
        return Suite.model_validate(run.suite) if run else None
    except ValidationError:
        return None


def _tasks(run: RunRecord | None, scores: Sequence[Scoring]) -> tuple[TaskRecord, ...]:
    """Return the columns that the run asks for, and further scored ones.

    Scores decide how a column is shown. If their scales differ, the larger one was inferred from
    values in [0, 1], and other records have values outside: the smaller one holds for all.
    """
    last = {(score.task, score.metric): score for score in scores}
    scales = {key: inf for key in last}
    for score in scores:
        scales[score.task, score.metric] = min(scales[score.task, score.metric], score.scale)
    columns = (score.task_record for score in last.values())
    scored = {one.key: one.model_copy(update={"scale": scales[one.key]}) for one in columns}
    found: dict[tuple[str, str], TaskRecord] = {}
    for asked in run.tasks if run else ():
        known = [one for one in scored.values() if _answers_to(one, asked)] or [asked]
        found |= {one.key: one for one in known}
    return tuple(sorted((found | scored).values(), key=lambda task: SORTS.index(task.sort)))


def _answers_to(scored: TaskRecord, asked: TaskRecord) -> bool:
    """Whether a scored column is the one asked for, whose metric may have been left to lm-eval."""
    return scored.name == asked.name and asked.metric in ("", scored.metric)


def _by_column(records: Iterable[Scoring]) -> Scores:
    found: dict[tuple[Method, int, tuple[str, str]], list[Scoring]] = {}
    rows: dict[str, Method] = {}
    for record in records:
        cell = record.cell
        method = rows.get(cell.key) or rows.setdefault(cell.key, Method.of(cell))
        found.setdefault((method, cell.seed, (record.task, record.metric)), []).append(record)
    return {place: tuple(of) for place, of in found.items()}
