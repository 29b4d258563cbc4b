"""A judge that writes its verdict: any OpenAI-compatible server, hosted or on this machine."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from adakd import resources
from adakd.errors import AdakdError
from adakd.judging.judge import Ask, Choice, ItemText, Question, judge_backend
from adakd.planning import digest

CHOICES: tuple[Choice, ...] = ("first", "second", "tie")
_SAMPLE = Question(ItemText("instruction", "input", ("reference",)), "first", "second")
_NOT_DECIDING = {"api_key_env", "timeout", "retries", "concurrency"}


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an address such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query:
        raise ValueError("an address holds no password or key: name its variable in api_key_env")
    return url


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError("needs exactly one (group), around the label")
    return pattern


@judge_backend("openai")
@dataclass(frozen=True, kw_only=True)
class Chat:
    """Shows a chat model the instruction, the references and both answers."""

    base_url: Annotated[str, AfterValidator(_endpoint)]
    model: str
    """As the server calls it."""
    api_key_env: Annotated[str, Field(pattern="^[A-Z][A-Z0-9_]*$")] | None = None
    """The environment variable that holds the key; none for most local servers."""
    temperature: Annotated[float, Field(ge=0)] | None = 0.0
    """None leaves it to the server, for models that take no temperature."""
    max_tokens: PositiveInt = 1024
    """Always sent: a local server may write for ever without it."""
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the server calls ``max_tokens``."""
    timeout: PositiveFloat = 120.0
    """Seconds a call."""
    retries: NonNegativeInt = 2
    """Further tries of a call that failed."""
    concurrency: PositiveInt = 8
    prompt: Path = resources.ROOT / "templates" / "judge" / "pairwise.j2"
    """A Jinja2 template."""
    verdicts: tuple[str, str, str] = ("A", "B", "C")
    """The labels of: first answer better, second answer better, tie."""
    pattern: Annotated[str, AfterValidator(_one_group)] = r"\[\[([^\[\]]*)\]\]"
    """What a verdict looks like in a reply; the group is its label."""
    extra: dict[str, Any] | None = None
    """More fields of the request, such as ``chat_template_kwargs``."""

    def __post_init__(self) -> None:
        try:
            self.render(_SAMPLE)
        except (TemplateError, OSError, UnicodeDecodeError) as error:
            raise AdakdError(f"prompt: {self.prompt}: {error}") from None

    def deciding(self) -> Mapping[str, Any]:
        """Return the settings but for key, patience and concurrency, with the prompt's text."""
        names = [field.name for field in fields(self) if field.name not in _NOT_DECIDING]
        return {name: getattr(self, name) for name in names} | {"prompt": self._source}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ask]:
        """Connect, and ask for a word: a wrong address, key or model is known at once."""
        # openai takes a second to import, and loading a judge needs none of it
        from adakd.judging.calls import connect

        async with connect(self) as ask:
            yield ask

    @cached_property
    def _source(self) -> str:
        return self.prompt.read_text(encoding="utf-8")

    @cached_property
    def _template(self) -> Template:
        return SandboxedEnvironment(undefined=StrictUndefined).from_string(self._source)

    def render(self, question: Question) -> str:
        """Return the prompt; its mark hashes the texts, so that none of them can contain it."""
        item = question.item
        answers = sorted([question.first, question.second])  # the same mark in both orders
        return self._template.render(
            mark=f"==={digest(item, answers)}===",
            instruction=item.instruction,
            input=item.input,
            references=item.references,
            first=question.first,
            second=question.second,
        )

    def read(self, reply: str, finished: bool) -> tuple[Choice, str]:
        """Return what a reply decides, with its words, or with why it decides nothing.

        The last verdict counts. A reply that was cut off counts only if it ends in its verdict:
        otherwise the judge was not done.
        """
        words = _without_thoughts(reply)
        if not words:
            return "failed", "an empty reply" if finished else "max_tokens reached while thinking"
        spoken = self._without_quotes(words)
        found = list(re.finditer(self.pattern, spoken))
        if not finished and (not found or re.search(r"\w", spoken[found[-1].end() :])):
            return "failed", f"max_tokens reached before the verdict: {words}"
        if not found:
            return "failed", f"no verdict: {words}"
        label = found[-1].group(1).strip()
        if label not in self.verdicts:
            return "failed", f"verdict {label!r} is none of {', '.join(self.verdicts)}: {words}"
        return CHOICES[self.verdicts.index(label)], words

    def _without_quotes(self, words: str) -> str:
        """Leave out what repeats the prompt's own examples, such as ``[[C]] if it is a tie``."""
        for verdict in re.finditer(self.pattern, self._source):
            clause = re.split("[,.;:!?\n]", self._source[verdict.end() :], maxsplit=1)[0].rstrip()
            if clause:
                words = words.replace(verdict[0] + clause, "")
        return words


def _without_thoughts(reply: str) -> str:
    """Leave out what a reasoning model thought, where the server does not."""
    after = reply.rpartition("</think>")[2]
    return after.partition("<think>")[0].strip()
