"""Parts from outside: a divergence, a bridge, a method, a data policy, a metric, a judge."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from adakd import Bridge, bridge, divergence, metric
from adakd.adaptive import Adaptive, TokenSelection, adaptive
from adakd.bridges import Side
from adakd.judging import Question, Session, Traits, Verdict, judge_backend
from adakd.policies import Decoding, Examples, Policy, PolicyContext, policy

if TYPE_CHECKING:
    from torch import Tensor


@divergence("scaled_reverse_kl")
def scaled_reverse_kl(
    student: "Tensor", teacher: "Tensor", *, factor: Annotated[float, Field(gt=0)] = 2.0
) -> "Tensor":
    """Reverse KL times a factor.

    Args:
        student: log-probabilities of shape (..., V).
        teacher: log-probabilities of shape (..., V).
        factor: what it is multiplied with.

    Returns:
        One value a token, of shape (...).
    """
    return factor * (student.exp() * (student - teacher)).sum(-1)


@bridge("softened")
class Softened(Bridge):
    """Compares the common entries of softened distributions.

    Args:
        by: what logits are divided by.
    """

    def __init__(self, *, by: Annotated[float, Field(gt=0)] = 2.0) -> None:
        self.by = by

    def rows(self, student: Side, teacher: Side) -> "tuple[Tensor, Tensor]":
        """Return log-probabilities of the common entries, (M, K) on both sides."""
        ours, theirs = (
            (side.logits[side.first] / self.by).log_softmax(-1)[:, side.ids.new_tensor(columns)]
            for side, columns in zip((student, teacher), self.columns, strict=True)
        )
        return ours, theirs


@adaptive("surest")
class Surest(Adaptive):
    """Weighs each token by how sure the teacher is of its favourite word.

    Args:
        power: of the probability that is the weight.
    """

    def __init__(self, *, power: Annotated[float, Field(ge=0)] = 1.0) -> None:
        self.power = power

    def score(self, student: "Tensor", teacher: "Tensor", labels: "Tensor") -> "Tensor":
        """Return the teacher's largest probability of log-probabilities (B, V)."""
        return teacher.amax(-1).exp()

    def select(self, scores: "Tensor") -> TokenSelection:
        """Keep all tokens, weighed."""
        positions = scores.new_ones(len(scores)).nonzero().squeeze(-1)
        return TokenSelection(score=scores, positions=positions, weight=scores**self.power)


@policy("every_other")
class EveryOther(Policy):
    """The student's own text in every other optimizer step."""

    fresh = True

    def __call__(self, rows: Examples, context: PolicyContext) -> Examples:
        """Return the rows, or what the student makes of their prompts."""
        return context.generate(rows, Decoding(max_new_tokens=4)) if context.step % 2 else rows


@metric("length_error", title="length error", higher_is_better=False)
def length_error(
    prediction: str, references: Sequence[str], *, per: Annotated[int, Field(gt=0)] = 1
) -> float | None:
    """Distance in characters to the reference of the nearest length.

    Args:
        prediction: the answer.
        references: the reference answers; without any there is no value.
        per: characters that count as one.
    """
    gaps = [abs(len(prediction) - len(reference)) for reference in references]
    return min(gaps) / per if gaps else None


@judge_backend("longest")
@dataclass(frozen=True, kw_only=True)
class Longest:
    """Prefers the longer answer."""

    margin: int = 0

    def traits(self) -> Traits:
        """Return the defaults: one question at a time, two answers in it."""
        return Traits()

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the margin."""
        return {"margin": self.margin}

    def tokens(self, question: Question) -> None:
        """Return nothing: no model reads the question."""

    @asynccontextmanager
    async def open(self, mode: str | None) -> AsyncIterator[Session]:
        """Yield the comparison."""
        yield Session(self._ask, mode="length")

    async def _ask(self, question: Question) -> Verdict:
        difference = len(question.first) - len(question.second or "")
        if abs(difference) <= self.margin:
            return Verdict("tie", f"{difference} letters")
        return Verdict("first" if difference > 0 else "second", f"{difference} letters")
