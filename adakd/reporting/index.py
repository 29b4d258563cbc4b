"""The records of a run, ordered: what was asked for, what is there, what is missing and why."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import ValidationError

from adakd.config import Suite
from adakd.planning import PLAIN, Cell, method_name
from adakd.planning import SEEDED as TRAINED
from adakd.store import Store
from adakd.store.records import RunRecord, ScoreRecord, TrainingRecord

Sort = Literal["answers", "choice", "task"]
SORTS: tuple[Sort, ...] = ("answers", "choice", "task")
SEEDED = (*TRAINED, "file")
"""Roles whose cells count as training seeds; those of files all have the same one."""


@dataclass(frozen=True)
class Method:
    """A row of the tables: a control, or a divergence with one of its arms."""

    role: str
    divergence: str | None = None
    arm: str = PLAIN
    longer: float = 0.0
    """Share of steps beyond those of the plain arm, of its longer twin alone."""

    @classmethod
    def of(cls, cell: Cell) -> "Method":
        """Return the row that a cell belongs to."""
        return cls(cell.role, cell.divergence, cell.arm, cell.longer)

    def __str__(self) -> str:
        """Return ``teacher``, ``reverse_kl`` or ``reverse_kl + adakd``."""
        return method_name(self.role, self.divergence, self.arm, self.longer)


@dataclass(frozen=True)
class TaskInfo:
    """A column of the tables: a task and how its numbers are shown."""

    name: str
    sort: Sort
    metric: str
    higher_is_better: bool = True
    scale: float = 1.0
    """What stored values are multiplied by: 100 for shares."""

    @property
    def unit(self) -> str:
        """The metric as the page names it, such as ``ROUGE-L × 100``."""
        known = {"rouge_l": "ROUGE-L", "acc": "accuracy"}
        name = "accuracy" if self.sort == "choice" else known.get(self.metric, self.metric)
        return f"{name} × 100" if self.scale == 100 else name


@dataclass(frozen=True)
class Gap:
    """Something that the suite asks for and the records do not have."""

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
    tasks: tuple[TaskInfo, ...]
    expected: tuple[tuple[Method, int], ...]
    trainings: dict[tuple[Method, int], TrainingRecord] = field(default_factory=dict)
    scores: dict[tuple[Method, int, str], tuple[ScoreRecord, ...]] = field(default_factory=dict)
    cells: frozenset[str] = frozenset()
    """The keys of the cells that count."""
    superseded: int = 0
    """Records of settings that were changed since; they are left out."""

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The training seeds of any method, controls too."""
        return tuple(dict.fromkeys(seed for _, seed in self.expected))

    @property
    def is_of_files(self) -> bool:
        """Whether nothing was trained here: the answers were read from files."""
        return bool(self.methods) and all(method.role == "file" for method in self.methods)

    def is_current(self, cell: Cell) -> bool:
        """Whether a record of `cell` counts: it belongs to the last run's settings."""
        return cell.key in self.cells

    def pairs(self) -> Iterator[tuple[Method, Method]]:
        """Every adaptive arm with the plain arm of the same divergence."""
        for method in self.methods:
            if method.role == "distilled" and method.arm != PLAIN:
                yield method, Method("distilled", method.divergence)

    def of_sort(self, *sorts: Sort) -> tuple[TaskInfo, ...]:
        """Return the tasks of some sorts, in the suite's order."""
        return tuple(task for task in self.tasks if task.sort in sorts)

    def failure(self, method: Method, seed: int) -> str | None:
        """Return why a training failed, or None where it did not."""
        record = self.trainings.get((method, seed))
        if record is None or record.status == "done":
            return None
        after = f" after {record.steps[-1].step} steps" if record.steps else ""
        return f"{record.reason or 'no reason recorded'} (failed{after})"

    def gaps(self) -> tuple[Gap, ...]:
        """Name every failed or missing cell, and the missing tasks of the others."""
        return tuple(gap for method, seed in self.expected for gap in self._gaps_of(method, seed))

    def _gaps_of(self, method: Method, seed: int) -> Iterator[Gap]:
        what = f"{method}, seed {seed}" if method.role in TRAINED else str(method)
        if reason := self.failure(method, seed):
            yield Gap(what, "failed", reason)
            return
        missing = [t.name for t in self.tasks if (method, seed, t.name) not in self.scores]
        trained = (method, seed) in self.trainings or len(missing) < len(self.tasks)
        if not trained:
            yield Gap(what, "missing", "no record: not run yet, or the run stopped before it")
        elif missing:
            yield Gap(what, "missing", f"not scored on {', '.join(missing)}")


def index(store: Store) -> Index:
    """Order the records of `store` by what they are of."""
    run = next(reversed(store.of(RunRecord)), None)
    suite = _suite(run)
    trainings, scores = store.current(TrainingRecord), store.current(ScoreRecord)
    cells = [*(score.cell for score in scores), *(training.cell for training in trainings)]
    places = dict.fromkeys((Method.of(cell), cell.seed) for cell in cells)
    expected = list(dict.fromkeys([*(_expected(suite) if suite else ()), *places]))
    return Index(
        run=run,
        suite=suite,
        methods=tuple(dict.fromkeys(method for method, _ in expected)),
        seeds=tuple(dict.fromkeys(s for m, s in expected if m.role in SEEDED)),
        tasks=_tasks(suite, scores),
        expected=tuple(expected),
        trainings={(Method.of(t.cell), t.cell.seed): t for t in trainings},
        scores=_by_task(scores),
        cells=frozenset(cell.key for cell in cells),
        superseded=len(store.of(TrainingRecord)) + len(store.of(ScoreRecord)) - len(cells),
    )


def _suite(run: RunRecord | None) -> Suite | None:
    """Return the suite of a run, or None where this version cannot read it any more."""
    try:
        return Suite.model_validate(run.suite) if run else None
    except ValidationError:
        return None


def _expected(suite: Suite) -> Iterator[tuple[Method, int]]:
    """Yield the cells that a suite asks for, by label: the plan itself would need its files."""
    yield Method("teacher"), suite.seeds[0]
    yield Method("untrained"), suite.seeds[0]
    if suite.controls.sft:
        yield from ((Method("sft"), seed) for seed in suite.seeds)
    for spec in suite.divergences:
        for arm in (PLAIN, *suite.arms_of(spec)):
            yield from ((Method("distilled", str(spec), arm), seed) for seed in suite.seeds)
        if longer := suite.controls.longer:
            method = Method("longer", str(spec), longer=longer)
            yield from ((method, seed) for seed in suite.seeds)


def _tasks(suite: Suite | None, scores: Sequence[ScoreRecord]) -> tuple[TaskInfo, ...]:
    """Return the tasks that the suite asks for and those that were scored besides."""
    asked: dict[str, TaskInfo] = {}
    if suite:
        evaluation = suite.evaluation
        asked |= {name: TaskInfo(name, "answers", "rouge_l", True, 100) for name in evaluation.sets}
        names = [choice.name for choice in evaluation.choices]
        asked |= {name: TaskInfo(name, "choice", "acc_norm", True, 100) for name in names}
        asked |= {t.name: TaskInfo(t.name, "task", t.metric or "") for t in evaluation.tasks}
    by_task: dict[str, list[ScoreRecord]] = {}
    for record in scores:
        by_task.setdefault(record.task, []).append(record)
    found = {name: _task(records) for name, records in by_task.items()}
    return tuple(sorted((asked | found).values(), key=lambda task: SORTS.index(task.sort)))


def _task(records: Sequence[ScoreRecord]) -> TaskInfo:
    last = records[-1]
    values = [item.value for record in records for item in record.items if item.value is not None]
    shares = last.higher_is_better and all(0 <= value <= 1 for value in values)
    shares = shares and all(0 <= record.value <= 1 for record in records)
    return TaskInfo(last.task, last.sort, last.metric, last.higher_is_better, 100 if shares else 1)


def _by_task(
    records: Iterable[ScoreRecord],
) -> dict[tuple[Method, int, str], tuple[ScoreRecord, ...]]:
    """Group scores by cell and task: one for each sampling seed."""
    found: dict[tuple[Method, int, str], tuple[ScoreRecord, ...]] = {}
    for record in records:
        place = (Method.of(record.cell), record.cell.seed, record.task)
        found[place] = (*found.get(place, ()), record)
    return found
