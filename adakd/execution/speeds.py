"""How long the stages of a plan take: by stated speeds, or by those of a stored run. No torch."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from adakd.errors import AdakdError
from adakd.execution.needs import ANSWERS, OPTIONS, SFT, STATES, STUDENTS, TIMING, Need
from adakd.planning import Plan
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
    """Tokens that all rows of continuous batching decode together; None: as padded batches do."""

    def seconds(self, need: Need) -> float | None:
        """Return the time of a stage; None where its size is not known."""
        if need.operations is None or need.tokens is None:
            return None
        if not need.at_once:
            return need.operations / self.operations / need.devices
        padded = self.decoded * need.at_once
        return need.tokens / (self.engine or padded if need.by_engine else padded)


H100 = Speed(300 * TERA, 28.0)
"""An NVIDIA H100 that decodes padded batches, assumed: 30 % of its bf16 operations, and 28 decoding
steps a second, which Python's overhead sets whatever the batch."""
H100_ENGINE = Speed(300 * TERA, 28.0, engine=15_000.0)
"""The same with continuous batching of the answers, assumed."""


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
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @cached_property
    def _steps(self) -> Mapping[Hashable, float]:
        trained = self._store.each(TrainingRecord)
        return _rates((one.cell.role, one.seconds, len(one.steps)) for one in trained if one.steps)

    @cached_property
    def _scores(self) -> Mapping[Hashable, float]:
        once: dict[str, tuple[str, float]] = {}
        for one in self._store.each(ScoreRecord):
            once[one.answers] = (one.task, one.seconds)
        return _rates((task, seconds, 1) for task, seconds in once.values())

    def trainings(self, lengths: Iterable[tuple[str, int | None]]) -> float | None:
        """Return the seconds of some trainings, by their roles and steps."""
        total = 0.0
        for role, steps in lengths:
            if steps is None or role not in self._steps:
                return None
            total += steps * self._steps[role]
        return total

    def scores(self, tasks: Iterable[str]) -> float | None:
        """Return the seconds of some scorings, by their tasks."""
        total = 0.0
        for task in tasks:
            if task not in self._scores:
                return None
            total += self._scores[task]
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


def _rates(measured: Iterable[tuple[Hashable, float, int]]) -> Mapping[Hashable, float]:
    """Return the seconds of one part, by what was measured."""
    sums: dict[Hashable, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for of, seconds, parts in measured:
        sums[of] = (sums[of][0] + seconds, sums[of][1] + parts)
    return {of: seconds / parts for of, (seconds, parts) in sums.items()}
