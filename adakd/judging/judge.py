"""What a judge is: a question, a verdict, a backend that answers, and the file that sets it up."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import ConfigDict

from adakd import resources
from adakd.config import Config
from adakd.errors import AdakdError
from adakd.loading import apply_override, read_yaml, validated
from adakd.planning import digest
from adakd.registry import Registry, Spec, load_plugins

JUDGING_VERSION = 1
"""Rises when the same judge file would no longer mean the same verdicts."""

Choice = Literal["first", "second", "tie", "failed"]


class JudgeError(AdakdError):
    """What a backend cannot go on from; `judge_answers` puts the judge's file in front of it."""


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
    second: str


@dataclass(frozen=True)
class Verdict:
    """What a judge said to one question."""

    choice: Choice
    reason: str = ""
    """The judge's words, or why it failed."""
    seconds: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


Ask = Callable[[Question], Awaitable[Verdict]]
"""Answers one question; a call that fails for good is a failed verdict, never a tie."""


class Backend(Protocol):
    """A way to get verdicts, registered with ``@judge_backend("name")``.

    Its keyword-only parameters are its settings: the fields of a judge file.
    """

    @property
    def concurrency(self) -> int:
        """How many questions may be under way at once."""
        ...

    def deciding(self) -> Mapping[str, Any]:
        """Return all that a verdict depends on: no key, no timeout, texts instead of paths."""
        ...

    def open(self) -> AbstractAsyncContextManager[Ask]:
        """Return a session within one event loop, after a check that the judge answers.

        Raises:
            JudgeError: on entering, or from a question: no later question could be answered.
                The message starts with the field to mend.
        """
        ...


judge_backend: Registry[Callable[..., Backend]] = Registry("judge backend")


class JudgeConfig(Config):
    """The content of a judge file; all other fields are settings of its backend."""

    model_config = ConfigDict(extra="allow")

    name: str
    """From the file's name."""
    description: str = ""
    kind: str
    """The backend."""


@dataclass(frozen=True)
class Judge:
    """A judge file that was read and checked."""

    name: str
    description: str
    file: Path
    backend: Backend
    id: str
    """``name@digest``: verdicts under one id are comparable."""


def load_judge(name: str, overrides: Sequence[str] = ()) -> Judge:
    """Read a judge by shipped name or path, with ``field=value`` overrides; asks nothing yet.

    Raises:
        AdakdError: no such judge, or a field that is wrong, named with its file.
    """
    load_plugins()
    file = resources.find("judges", name)
    content = read_yaml(file)
    for override in overrides:
        apply_override(content, override)
    own_name = file.stem if file == Path(name) else name
    config = validated(JudgeConfig, {"name": own_name, **content}, file)
    try:
        backend = judge_backend.build(Spec(name=config.kind, **_settings(config, file)))
    except AdakdError as error:
        raise AdakdError(f"{file}: {error}") from None
    decides = digest(JUDGING_VERSION, config.kind, backend.deciding())
    judge_id = f"{config.name}@{decides[:8]}"
    return Judge(config.name, config.description, file, backend, judge_id)


def _settings(config: JudgeConfig, file: Path) -> dict[str, Any]:
    """Return the backend's settings, a prompt as the file beside the judge or the shipped one."""
    settings = dict(config.model_extra or {})
    if isinstance(prompt := settings.get("prompt"), str):
        places = [file.parent / prompt, resources.ROOT / "templates" / "judge" / prompt]
        found = [place for place in places if place.is_file()]
        if not found:
            raise AdakdError(f"{file}: prompt: {prompt} is neither beside it nor a shipped prompt")
        settings["prompt"] = found[0]
    return settings
