"""How long the stages of a plan take: by stated speeds, or by those of a stored run. No torch."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property

from adakd.errors import AdakdError
from adakd.execution.needs import ANSWERS, OPTIONS, SFT, STATES, STUDENTS, TIMING, Need
from adakd.planning import Plan
from adakd.planning.units import Unit
from adakd.store import Store
from adakd.store.records import ScoreRecord, TeacherStatesRecord, TimingRecord, TrainingRecord

TERA = 1e12


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


class Rates:
    """The speeds of a stored run: seconds of a step by role, and of a model's scores by task.

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
        return self._steps.of(role)

    def score(self, task: str) -> float | None:
        """Return the seconds of one scoring, by its task."""
        return self._scores.of(task)

    def trainings(self, lengths: Iterable[tuple[str, int | None]]) -> float | None:
        """Return the seconds of some trainings, by their roles and steps."""
        total = 0.0
        for role, steps in lengths:
            step = self.step(role)
            if steps is None or step is None:
                return None
            total += steps * step
        return total

    def scores(self, tasks: Iterable[str]) -> float | None:
        """Return the seconds of some scorings, by their tasks."""
        total = 0.0
        for task in tasks:
            if (seconds := self.score(task)) is None:
                return None
            total += seconds
        return total

    def stages(self, planned: Plan) -> dict[str, float | None]:
        """Return the seconds of the stages of a plan, done or not, by their names."""
        lengths = [
            (one.cell.role, planned.length(one)[0])
            for one in planned.assignments
            if one.training is not None
        ]
        sets = planned.suite.evaluation.sets
        tasks = {job.answers: job.task for job in planned.jobs}.values()
        states = self._store.last(TeacherStatesRecord)
        timed = self._store.each(TimingRecord)
        steps = [sum(s.seconds.values()) for one in timed for pair in one.pairs for s in pair]
        return {
            SFT: self.trainings(one for one in lengths if one[0] == "teacher"),
            STUDENTS: self.trainings(one for one in lengths if one[0] != "teacher"),
            ANSWERS: self.scores(task for task in tasks if task in sets),
            OPTIONS: self.scores(task for task in tasks if task not in sets),
            STATES: states.seconds if states and states.seconds else None,
            TIMING: sum(steps) if steps else None,
        }


class _Means:
    """Mean seconds of one part, by what it is a part of."""

    def __init__(self) -> None:
        self._sums: dict[Hashable, tuple[float, int]] = {}

    def add(self, of: Hashable, seconds: float, parts: int) -> None:
        """Count some parts that took so long together."""
        if parts:
            before = self._sums.get(of, (0.0, 0))
            self._sums[of] = (before[0] + seconds, before[1] + parts)

    def of(self, of: Hashable) -> float | None:
        """Return the seconds of one part; None where none was counted."""
        seconds, parts = self._sums.get(of, (0.0, 0))
        return seconds / parts if parts else None
