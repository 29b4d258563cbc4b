"""Cells, the models to train and score, and jobs, their scorings."""

from typing import Literal

from adakd.config import Config
from adakd.config.numbers import Share

Role = Literal["teacher", "untrained", "sft", "distilled", "longer", "file"]
"""A file holds answers that were made elsewhere; `divergence` is then the name of its method."""


SEEDED: tuple[Role, ...] = ("sft", "distilled", "longer")
"""Roles whose cells are trained once for every seed."""


PLAIN = "plain"
"""The arm without a token-adaptive method."""


class Cell(Config):
    """One model to score: a student x divergence x arm x seed, or a control.

    The two cells of a pair differ in ``arm`` alone.
    """

    role: Role
    seed: int
    divergence: str | None = None
    """The label of its baseline: a divergence, with a data policy where it has one."""
    arm: str = PLAIN
    longer: Share = 0.0
    """Of the role ``longer``: the share of steps that it is trained for beyond its plain twin."""
    key: str
    """Hash of all that decides its weights."""

    @property
    def method(self) -> str:
        """The row of a table that this cell belongs to, such as ``reverse_kl + adakd``."""
        return method_name(self.role, self.divergence, self.arm, self.longer)

    @property
    def has_teacher(self) -> bool:
        """Whether it learns from the teacher."""
        return self.role in ("distilled", "longer")

    def __str__(self) -> str:
        """Return the method and, for a trained student, its seed."""
        return f"{self.method}, seed {self.seed}" if self.role in SEEDED else self.method


def method_name(role: str, divergence: str | None, arm: str, longer: float) -> str:
    """Return how a method is called, such as ``reverse_kl, 10 % longer``."""
    if divergence is None:
        return role
    if longer:
        return f"{divergence}, {100 * longer:g} % longer"
    return divergence if arm == PLAIN else f"{divergence} + {arm}"


class Job(Config):
    """One scoring of one cell: a task, a metric and, where answers are sampled, a sampling seed."""

    cell: Cell
    task: str
    metric: str | None
    """None is the first metric of an lm-eval task, known once it is scored."""
    sampling_seed: int | None
    answers: str
    """Key of the answers, which the metrics of a set share."""
    key: str
