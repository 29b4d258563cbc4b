"""All that decides the training of one cell, resolved once. Needs no torch."""

from math import ceil

from adakd.config import Baseline, Config, Suite, Training
from adakd.config.suite import CrossEntropy
from adakd.planning.cells import Cell
from adakd.policies import Decoding, Policy, policy
from adakd.registry import Spec

OFFLINE = Spec(name="offline")
"""The data policy of cells that are not distilled."""
NEUTRAL = Spec(name="adakd", focus="fixed", temperature="fixed")
"""The adaptive method that changes nothing: all tokens selected, at temperature 1."""


class Assignment(Config):
    """A cell with everything that its training needs from the suite."""

    cell: Cell
    recipe: str
    """The key of its training without the seed."""
    baseline: Baseline | None = None
    """None where the labels alone are learned from."""
    adaptive: Spec | None = None
    """The adaptive method; None in the plain arm."""
    training: Training | None = None
    """None where the cell is not trained."""
    policy: Spec = OFFLINE
    """The data policy."""
    bridge: Spec | None = None
    """Between the tokenizers of student and teacher; None where they share one."""
    cross_entropy: CrossEntropy = 0.0
    """Weight of the cross-entropy to the labels beside the divergence; ``dynamic`` scales that."""
    generates: bool = False
    """Whether the policy may train on sequences generated during the training."""
    held_out: int = 0
    """Rows that the policy keeps for validation."""
    rewriting: Decoding | None = None
    """How the teacher rewrites the responses of the data set before the training, if it does."""

    def new_policy(self) -> Policy:
        """Return a data policy for one training: it may have state."""
        made: Policy = policy.build(self.policy)
        return made

    def resolved(self, rows: int) -> "ResolvedAssignment":
        """Return the assignment for a data set of `rows` sequences, held-out ones included."""
        rows -= self.held_out
        steps = 0 if self.training is None else total_steps(self.training, max(0, rows))
        return ResolvedAssignment(**dict(self), rows=rows, steps=steps)


class ResolvedAssignment(Assignment):
    """An assignment whose number of training rows is known, and with it the number of steps."""

    rows: int
    """Sequences to train on; none or fewer where the policy holds out too many."""
    steps: int
    """Optimizer steps."""

    @property
    def sequences(self) -> int:
        """Sequences that the training takes, repetitions over epochs included."""
        return 0 if self.training is None else self.steps * self.training.sequences


def assignment_of(cell: Cell, recipe: str, suite: Suite, baseline: Baseline | None) -> Assignment:
    """Return a cell with its part of the suite, and its row of the suite's divergences if any."""
    spec = OFFLINE if baseline is None else baseline.policy
    made: Policy = policy.build(spec)
    return Assignment(
        cell=cell,
        recipe=recipe,
        baseline=baseline,
        adaptive=NEUTRAL if cell.role == "neutral" else suite.arms.get(cell.arm),
        training=_training(cell, suite),
        policy=spec,
        bridge=suite.bridge_of(baseline) if baseline and cell.has_teacher else None,
        cross_entropy=suite.objective.cross_entropy if cell.has_teacher else 0.0,
        generates=made.fresh,
        held_out=made.held_out,
        rewriting=made.rewriting,
    )


def total_steps(training: Training, rows: int) -> int:
    """Return the optimizer steps of a training on `rows` sequences."""
    if training.steps is not None:
        return training.steps
    assert training.epochs is not None
    return _rounded_up(ceil(rows / training.sequences) * training.epochs)


def _training(cell: Cell, suite: Suite) -> Training | None:
    if cell.role in ("untrained", "elsewhere"):
        return None
    if cell.role == "teacher":
        return suite.teacher.sft
    return _lengthened(suite.training, cell.longer)


def _lengthened(training: Training, share: float) -> Training:
    """Return a training with a share of steps more, its learning rate schedule stretched."""
    if training.steps is not None:
        more = {"steps": _rounded_up(training.steps * (1 + share))}
        return training.model_copy(update=more)
    assert training.epochs is not None
    return training.model_copy(update={"epochs": training.epochs * (1 + share)})


def _rounded_up(steps: float) -> int:
    """Return whole steps: 100 * 1.1 is 110 of them, whatever floating point makes of it."""
    return ceil(round(steps, 6))
