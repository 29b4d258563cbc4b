"""A judge without a model: the answer closer to the references is better."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Annotated, Any

from pydantic import Field

from adakd.config.scoring import DEFAULT_METRIC
from adakd.judging.base import (
    JudgeError,
    Preference,
    Question,
    Session,
    Tokens,
    Traits,
    Verdict,
    judge_backend,
)
from adakd.metrics import metric


@judge_backend("rule")
@dataclass(frozen=True, kw_only=True)
class Rule:
    """Prefers the better value of the default metric; deterministic."""

    tie_margin: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Scores (0..1) at most this far apart are a tie."""

    def traits(self) -> Traits:
        """Return that it compares with the reference."""
        return Traits(by_reference=True)

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the tie margin."""
        return {"tie_margin": self.tie_margin}

    def tokens(self, question: Question) -> Tokens | None:
        """Return None: no model reads the question."""
        return None

    @asynccontextmanager
    async def open(self, mode: str | None = None) -> AsyncIterator[Session]:
        """Yield the comparison; there is nothing to connect to."""
        yield Session(self._ask, mode="rule")

    async def _ask(self, question: Question) -> Verdict:
        start = perf_counter()
        if not question.item.references:
            raise JudgeError(
                "kind: a rule compares with the reference, which an item does not have or which is "
                "itself one of the two answers; use a model"
            )
        first = _score(question.first, question.item.references)
        second = _score(question.second or "", question.item.references)
        choice: Preference = "first" if first > second else "second"
        if abs(first - second) <= self.tie_margin:
            choice = "tie"
        return Verdict(choice, seconds=perf_counter() - start)


@lru_cache(maxsize=64)
def _score(answer: str, references: tuple[str, ...]) -> float:
    """Return the metric; the swapped question, asked next, needs the same two scores."""
    value = metric[DEFAULT_METRIC](answer, references)
    assert value is not None  # there are references
    return value
