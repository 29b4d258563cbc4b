"""What a judge is: a question, a verdict and a backend that answers."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from adakd.config.judge import Asks, Prices, Vetting
from adakd.errors import AdakdError
from adakd.registry import Registry

Preference = Literal["first", "second", "tie", "rated", "failed"]


class JudgeError(AdakdError):
    """What a backend cannot go on from; the judging puts the judge's file in front of it."""


@dataclass(frozen=True)
class ItemText:
    """The words of an evaluated item; results hold the answers alone."""

    instruction: str
    input: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """Which of two answers is better? In one order: the swapped one is another question."""

    item: ItemText
    first: str
    second: str | None
    """None for a judge that rates: how good is the first answer?"""


@dataclass(frozen=True)
class Verdict:
    """What a judge said to one question."""

    choice: Preference
    reason: str = ""
    """The judge's words, or why it failed."""
    seconds: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    probabilities: tuple[float, float, float] | None = None
    """Of first, second and tie, where the judge gives them; they add up to 1."""
    score: float | None = None
    """Where the answer was rated; higher is better."""


@dataclass(frozen=True)
class Tokens:
    """About how much one question takes."""

    prompt: int
    completion: int
    """At most."""


@dataclass(frozen=True)
class Traits:
    """What the asking must know of a backend."""

    concurrency: int = 1
    """How many questions may be under way at once."""
    asks: Asks = "pair"
    by_reference: bool = False
    """Whether it only compares with the reference; it is vetted with the reference shown, which
    is hidden from all others."""
    model: str | None = None


Ask = Callable[[Question], Awaitable[Verdict]]
"""Answers one question; a call that fails for good is a failed verdict, never a tie."""


@dataclass(frozen=True)
class Session:
    """An open backend, good for one event loop."""

    ask: Ask
    mode: str
    """How verdicts are read, such as ``decision`` or ``text``: part of the report."""


class Backend(Protocol):
    """A way to get verdicts, registered with ``@judge_backend("name")``.

    Its keyword-only parameters are its settings: the fields of a judge file.
    """

    def traits(self) -> Traits:
        """Return what the asking must know."""
        ...

    def fingerprint(self) -> Mapping[str, Any]:
        """Return all that a verdict depends on: no key, no timeout, texts instead of paths."""
        ...

    def tokens(self, question: Question) -> Tokens | None:
        """Return about what a question takes, for a plan; None where nothing is counted."""
        ...

    def open(self, mode: str | None) -> AbstractAsyncContextManager[Session]:
        """Return a session within one event loop, after a check that the judge answers.

        Args:
            mode: in which an earlier session of the same run read the verdicts; None to find out.

        Raises:
            JudgeError: on entering, or from a question: no later question could be answered.
                The message starts with the field to mend.
        """
        ...


judge_backend: Registry[Callable[..., Backend]] = Registry("judge backend")


@dataclass(frozen=True)
class Judge:
    """A judge file that was read and checked."""

    name: str
    description: str
    file: Path
    kind: str
    backend: Backend
    id: str
    """``name@digest``: verdicts under one id are comparable."""
    family: str | None
    """Of its model, such as ``qwen``: from the judge file or from the model's name."""
    vetting: Vetting
    prices: Prices | None
