"""Cells, the models to train and score, and jobs, their scorings."""

from typing import Literal

from adakd.config import Config
from adakd.config.numbers import Share

Role = Literal["teacher", "untrained", "sft", "distilled", "longer", "neutral", "elsewhere", "file"]
"""``neutral``: a plain student trained by an adaptive method whose settings change nothing, at one
seed; it shows that the method's code alone has no effect. ``elsewhere``: a student that another
program trained. ``file``: answers generated elsewhere. `divergence` is the name of the method of
these two."""


SEEDED: tuple[Role, ...] = ("sft", "distilled", "longer")
"""Roles that are trained once for every seed."""


PLAIN = "plain"
"""The arm without a token-adaptive method."""


class Cell(Config):
    """One model to score: a student x divergence x arm x seed, or a control.

    The two cells of a pair differ in ``arm`` alone.
    """

    role: Role
    seed: int
    divergence: str | None = None
    """The label of its baseline: a divergence, and a data policy unless it is offline."""
    arm: str = PLAIN
    longer: Share = 0.0
    """Role ``longer``: the share of steps beyond those of its plain twin."""
    key: str
    """Hash of everything that decides its weights."""

    @property
    def method(self) -> str:
        """The table row of this cell, such as ``reverse_kl + adakd``."""
        return method_name(self.role, self.divergence, self.arm, self.longer)

    @property
    def has_teacher(self) -> bool:
        """Whether it is trained on the teacher's outputs."""
        return self.role in ("distilled", "longer", "neutral")

    def __str__(self) -> str:
        """Return the method and, for a trained student, its seed."""
        has_seed = self.role in (*SEEDED, "elsewhere")
        return f"{self.method}, seed {self.seed}" if has_seed else self.method


def method_name(role: str, divergence: str | None, arm: str, longer: float) -> str:
    """Return the name of a method, such as ``reverse_kl, 10 % longer``."""
    if divergence is None:
        return role
    if role == "neutral":
        return f"{divergence}, neutral adakd"
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
