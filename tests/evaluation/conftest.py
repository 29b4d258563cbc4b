"""A random model under the harness, and tasks written for it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adakd.config import Suite
from adakd.evaluation.harness import Harness, score
from adakd.evaluation.tasks import write_tasks
from adakd.planning import Job, plan
from adakd.store.records import ScoreRecord
from adakd.training.context import RunContext


@dataclass
class Bench:
    """An untrained student, the tasks of its suite, and the scoring of one by its name."""

    suite: Suite
    context: RunContext
    tasks: Path

    def __post_init__(self) -> None:
        write_tasks(self.suite, self.context.tokenizer, self.tasks)
        self.harness = Harness(self.model, self.context.tokenizer, self.suite)

    @property
    def model(self) -> Any:
        return self.context.load(self.context.plan.assignments[1])

    def jobs(self, task: str, seed: int | None = None) -> list[Job]:
        """Return the jobs of a task that share their answers."""
        cell = self.context.plan.cells[1]
        assert cell.role == "untrained"
        jobs = [job for job in self.context.plan.jobs if job.cell == cell and job.task == task]
        first = [job for job in jobs if job.answers == jobs[0].answers]
        return [job.model_copy(update={"sampling_seed": seed}) for job in first]

    def score(self, task: str, seed: int | None = None, **rest: Any) -> ScoreRecord:
        """Return the first score: others of the task have further metrics."""
        return self.scores(task, seed, **rest)[0]

    def scores(self, task: str, seed: int | None = None, **rest: Any) -> tuple[ScoreRecord, ...]:
        return score(self.harness, [self.jobs(task, seed)], self.suite, self.tasks, **rest)


MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(make_suite: Any, tmp_path: Path) -> MakeBench:
    def make(changes: Any = None, folder: str = "tasks") -> Bench:
        suite = make_suite(changes)
        return Bench(suite, RunContext(plan(suite), tmp_path), tmp_path / folder)

    return make
