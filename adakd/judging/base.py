"""The interface of judges: questions, verdicts and backends."""

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
    """Unrecoverable backend error; the judging prefixes its message with the judge's file."""


class Outage(JudgeError):
    """A judge that has answered before does not answer now, but may again.

    The judging asks again for as long as the traits' ``patience`` says.
    """


@dataclass(frozen=True)
class ItemText:
    """The texts of an evaluated item; stored scores hold only the answers."""

    instruction: str
    input: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A comparison of two answers in one order; the swapped order is another question."""

    item: ItemText
    first: str
    second: str | None
    """None for a rating judge, which rates the first answer."""


@dataclass(frozen=True)
class Verdict:
    """The answer of a judge to one question."""

    choice: Preference
    reason: str = ""
    """The judge's text, or why it failed."""
    seconds: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    probabilities: tuple[float, float, float] | None = None
    """Of first, second and tie, if the judge gives them; they sum to 1."""
    score: float | None = None
    """The rating of an answer; higher is better."""
    lasts: bool = True
    """Whether a failure would come again for the same question: not one of the connection, of
    time or of a rate limit. A judging repeats one that lasts only a few times."""
    prompt_cut: bool = False
    """Whether the server counts far fewer tokens than the prompt has words: it cut the prompt."""


@dataclass(frozen=True)
class Tokens:
    """Estimated tokens of one question."""

    prompt: int
    completion: int
    """Upper bound."""


@dataclass(frozen=True)
class Traits:
    """The properties of a backend that a judging depends on."""

    concurrency: int = 1
    """The number of concurrent questions."""
    asks: Asks = "pair"
    patience: float = 0.0
    """Seconds to wait for a judge in an :class:`Outage`."""
    by_reference: bool = False
    """Whether it only compares answers with the reference. Such a judge sees it when vetted; it
    is hidden from all others."""
    model: str | None = None


Ask = Callable[[Question], Awaitable[Verdict]]
"""Answers one question; a call that fails all attempts is a failed verdict, never a tie."""


@dataclass(frozen=True)
class Session:
    """An open backend, for use in one event loop."""

    ask: Ask
    mode: str
    """How verdicts are read, such as ``decision`` or ``text``; shown in the report."""


class Backend(Protocol):
    """A source of verdicts, registered with ``@judge_backend("name")``.

    Its keyword-only parameters are its settings, the fields of a judge file.
    """

    def traits(self) -> Traits:
        """Return the properties that a judging depends on."""
        ...

    def fingerprint(self) -> Mapping[str, Any]:
        """Return everything a verdict depends on: no key or timeout, and texts instead of paths."""
        ...

    def tokens(self, question: Question) -> Tokens | None:
        """Estimate the tokens of a question, for a plan; None if tokens are not counted."""
        ...

    def open(self, mode: str | None) -> AbstractAsyncContextManager[Session]:
        """Return a session for one event loop, after checking that the judge answers.

        Args:
            mode: the mode of an earlier session of the same run; None to find one.

        Raises:
            JudgeError: on entering or from a question, if no further question can be answered.
                The message starts with the field to fix.
        """
        ...


judge_backend: Registry[Callable[..., Backend]] = Registry("judge backend")


@dataclass(frozen=True)
class Judge:
    """A validated judge file."""

    name: str
    description: str
    file: Path
    kind: str
    backend: Backend
    id: str
    """``name@digest``: verdicts under one id are comparable."""
    family: str | None
    """The model family, such as ``qwen``, from the judge file or from the model's name."""
    vetting: Vetting
    prices: Prices | None
