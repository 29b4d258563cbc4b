"""How long the stages of a plan take: by stated speeds, or by those of a stored run. No torch."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from adakd.errors import AdakdError
from adakd.execution.needs import ANSWERS, OPTIONS, SFT, STATES, STUDENTS, TIMING, Need
from adakd.planning import Assignment, Job, Plan
from adakd.planning.units import Unit
from adakd.store import Store
from adakd.store.records import ScoreRecord, TeacherStatesRecord, TimingRecord, TrainingRecord

TERA = 1e12
TEACHER = "teacher"
"""Its steps tell nothing of those of students, nor the other way round."""


@dataclass(frozen=True)
class Speed:
    """What a device does in a second."""

    operations: float
    """Of matrix products in trainings, readings and prompts."""
    decoded: float
    """Tokens that one row of a padded batch decodes, whatever the batch."""
    engine: float | None = None
    """Tokens that continuous batching decodes while prompts wait; None: as padded batches do."""

    def seconds(self, need: Need) -> float | None:
        """Return the time of a stage; None where its size is not known."""
        if need.operations is None or need.tokens is None:
            return None
        if not need.at_once:
            return need.operations / self.operations / need.devices
        padded = self.decoded * need.at_once
        return need.tokens / (self.engine or padded if need.waiting else padded)


H100 = Speed(300 * TERA, 28.0)
"""An NVIDIA H100 that decodes padded batches, assumed: 30 % of its bf16 operations, and 28 decoding
steps a second, which Python's overhead sets whatever the batch."""
H100_ENGINE = Speed(300 * TERA, 28.0, engine=15_000.0)
"""The same with continuous batching, assumed."""


def stated(text: str, at_once: int) -> Speed:
    """Return the speed of ``TOKENS_PER_S,TFLOPS``.

    Args:
        text: decoded tokens a second with `at_once` answers decoded together, and 10^12 operations
            a second of training.
        at_once: ``evaluation.batch_size``.

    Raises:
        AdakdError: it is no such pair of numbers above 0.
    """
    try:
        tokens, operations = (float(part) for part in text.split(","))
    except ValueError:
        tokens = operations = 0.0
    if not all(0 < value < float("inf") for value in (tokens, operations)):
        raise AdakdError(
            f"--speed: {text!r} is not TOKENS_PER_S,TFLOPS: give decoded tokens a second at "
            "evaluation.batch_size and 10^12 operations a second of training, such as 900,300"
        )
    return Speed(operations * TERA, tokens / at_once)


class Pace(Protocol):
    """Tells how long the parts of trainings and scorings take."""

    def step(self, role: str) -> float | None:
        """Return the seconds of a step of a training, by the role of its cell."""
        ...

    def score(self, task: str) -> float | None:
        """Return the seconds of one model's answers to a task."""
        ...


class Work:
    """Steps of trainings and answers of models that are to be done."""

    def __init__(self) -> None:
        self.steps, self.answers = Counter[str](), Counter[str]()
        """By the role of the cell, and by the task."""
        self.is_known = True
        """Whether the steps of all trainings are known."""

    @classmethod
    def of(cls, plan: Plan, trainings: Iterable[Assignment], jobs: Iterable[Job]) -> "Work":
        """Return some trainings and scorings of a plan."""
        work = cls()
        for one in trainings:
            work.train(one.cell.role, plan.length(one)[0])
        work.score(jobs)
        return work

    def train(self, role: str, steps: int | None, sign: int = 1) -> None:
        """Add a training; None where its steps are not known."""
        self.is_known &= steps is not None
        self.steps[role] += sign * (steps or 0)

    def score(self, jobs: Iterable[Job], sign: int = 1) -> None:
        """Add scorings; those of several metrics of the same answers count once."""
        for task in {job.answers: job.task for job in jobs}.values():
            self.answers[task] += sign

    def seconds(self, pace: Pace) -> float | None:
        """Return how long it takes one after another; None where the pace of a part is missing."""
        if not self.is_known:
            return None
        parts = [(count, pace.step(role)) for role, count in self.steps.items() if count]
        parts += [(count, pace.score(task)) for task, count in self.answers.items() if count]
        known = [count * seconds for count, seconds in parts if seconds is not None]
        return sum(known) if len(known) == len(parts) else None


class Rates:
    """The pace of a stored run: seconds of a step by role, and of a model's answers by task.

    Steps of students whose role was not seen yet take as long as those of the slowest other role.
    None stands for what the run does not tell.

    Args:
        store: the records of the run.
        recorded: whether those that are there count, beside those that :meth:`note` counts.
    """

    def __init__(self, store: Store, recorded: bool = True) -> None:
        self._store, self._recorded = store, recorded

    @cached_property
    def _steps(self) -> "_Means":
        means = _Means()
        for one in self._store.each(TrainingRecord) if self._recorded else ():
            means.add(one.cell.role, one.seconds, len(one.steps))
        return means

    @cached_property
    def _scores(self) -> "_Means":
        once: dict[str, tuple[str, float]] = {}
        for one in self._store.each(ScoreRecord) if self._recorded else ():
            once[one.answers] = (one.task, one.seconds)
        means = _Means()
        for task, seconds in once.values():
            means.add(task, seconds, 1)
        return means

    def note(self, unit: Unit) -> float:
        """Count a unit that has been done since, and return its seconds as in the records."""
        steps, scores, spent = self._steps, self._scores, 0.0
        if unit.kind in ("teacher", "student"):
            trained = self._store.get(TrainingRecord, unit.key)
            if trained is not None:
                spent = trained.seconds
                steps.add(trained.cell.role, spent, len(trained.steps))
        for job in {job.answers: job for job in reversed(unit.jobs)}.values():  # the first metric's
            if (score := self._store.get(ScoreRecord, job.key)) is not None:
                scores.add(job.task, score.seconds, 1)
                spent += score.seconds
        return spent

    def step(self, role: str) -> float | None:
        """Return the seconds of a step of a training, by the role of its cell."""
        own = self._steps.of(role)
        if own is not None or role == TEACHER:
            return own
        others = (self._steps.of(other) for other in self._steps if other != TEACHER)
        return max((seconds for seconds in others if seconds is not None), default=None)

    def score(self, task: str) -> float | None:
        """Return the seconds of one model's answers, by their task."""
        return self._scores.of(task)

    def stages(self, planned: Plan) -> dict[str, float | None]:
        """Return the seconds of the stages of a plan, done or not, by their names."""
        trained = [one for one in planned.assignments if one.training is not None]
        sets = planned.suite.evaluation.sets
        states = self._store.last(TeacherStatesRecord)
        timed = self._store.each(TimingRecord)
        steps = [sum(s.seconds.values()) for one in timed for pair in one.pairs for s in pair]

        def seconds(trainings: Iterable[Assignment], jobs: Iterable[Job]) -> float | None:
            return Work.of(planned, trainings, jobs).seconds(self)

        return {
            SFT: seconds((one for one in trained if one.cell.role == TEACHER), ()),
            STUDENTS: seconds((one for one in trained if one.cell.role != TEACHER), ()),
            ANSWERS: seconds((), (job for job in planned.jobs if job.task in sets)),
            OPTIONS: seconds((), (job for job in planned.jobs if job.task not in sets)),
            STATES: states.seconds if states and states.seconds else None,
            TIMING: sum(steps) if steps else None,
        }


@dataclass(frozen=True)
class Fallback:
    """A pace, and another one for what it does not tell."""

    first: Pace
    second: Pace

    def step(self, role: str) -> float | None:
        """Return the seconds of a step of a training, by the role of its cell."""
        own = self.first.step(role)
        return self.second.step(role) if own is None else own

    def score(self, task: str) -> float | None:
        """Return the seconds of one model's answers to a task."""
        own = self.first.score(task)
        return self.second.score(task) if own is None else own


class _Means:
    """Mean seconds of one part, by what it is a part of."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._sums)

    def add(self, of: str, seconds: float, parts: int) -> None:
        """Count some parts that took so long together."""
        if parts:
            before = self._sums.get(of, (0.0, 0))
            self._sums[of] = (before[0] + seconds, before[1] + parts)

    def of(self, of: str) -> float | None:
        """Return the seconds of one part; None where none was counted."""
        seconds, parts = self._sums.get(of, (0.0, 0))
        return seconds / parts if parts else None
