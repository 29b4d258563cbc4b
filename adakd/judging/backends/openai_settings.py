"""Settings of a judge behind an OpenAI-compatible server, and the requests made from them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, NonNegativeInt, PositiveInt

from adakd.config.base import Line
from adakd.config.judge import Asks
from adakd.errors import AdakdError, one_line
from adakd.judging.backends.label_probabilities import Labels, RatingScale, typed_questions
from adakd.judging.backends.parsing import ReplyParser
from adakd.judging.backends.prompt_templates import (
    DEFAULTS,
    TEMPLATE_ERRORS,
    Form,
    PromptTemplate,
)
from adakd.judging.base import ItemText, Question, Tokens, Traits

Mode = Literal[
    "decision",
    "json_schema+logprobs",
    "json_object+logprobs",
    "json_schema",
    "json_object",
    "text",
]
"""How verdicts are given: as label probabilities, as JSON, or at the end of a text."""
_NOT_IN_FINGERPRINT = {"api_key_env", "timeout", "retries", "concurrency", "patience", "prompt"}
_SET_BY = {
    "messages": "the field `prompt` decides what is asked",
    "model": "set the field `model`",
    "temperature": "set the field `temperature`",
    "max_tokens": "set the field `max_tokens`",
    "max_completion_tokens": "set the fields `max_tokens` and `limit_field`",
    "response_format": "set the field `mode`",
    "logprobs": "set the field `mode`",
    "top_logprobs": "set the field `mode`",
    "stream": "replies are read whole",
    "stream_options": "replies are read whole",
    "n": "one reply is read",
    "echo": "the reply alone is read",
    "tools": "a reply in text is read",
    "tool_choice": "a reply in text is read",
    "functions": "a reply in text is read",
    "function_call": "a reply in text is read",
}
"""Fields of a request that the judge file decides, or that no reply could be read with."""
_TOP = 8
"""Most likely tokens to request: the labels, and some spellings of them."""
_HELLO = "Reply with the word yes and nothing else, and not as JSON."


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    plain = url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError("expected an address such as http://127.0.0.1:8000/v1")
    if "@" in url or parts.query or parts.fragment:
        raise ValueError(
            "an address holds no password, key, ? or #: name a key's variable in api_key_env "
            "(Azure's address ends in /openai/v1)"
        )
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError("leave /chat/completions out: it is added")
    try:
        parts.hostname.encode("idna")
        valid = parts.port != 0
    except ValueError:  # its message quotes a part of the address, which may be a key
        valid = False
    if not valid:
        raise ValueError("its host or port is invalid; expected http://127.0.0.1:8000/v1 or so")
    return url


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError("expected exactly one (group), around the label")
    if re.search(pattern, ""):
        raise ValueError("matches an empty text, and so finds a verdict everywhere")
    return pattern


def _additional(extra: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    for name in extra or {}:
        if name in _SET_BY:
            raise ValueError(f"{name!r} is not for `extra`: {_SET_BY[name]}")
    try:
        json.dumps(extra, allow_nan=False)
    except ValueError:
        raise ValueError("a number in it is not finite, which JSON cannot say") from None
    return extra


@dataclass(frozen=True)
class Request:
    """A request to a server."""

    path: str
    body: Mapping[str, Any]

    @property
    def prompt(self) -> str:
        """The text shown to the model."""
        text: str = (
            self.body["state"] if "state" in self.body else self.body["messages"][0]["content"]
        )
        return text


@dataclass(frozen=True, kw_only=True)
class OpenAISettings:
    """The fields of a judge file of the kind ``openai``, and its requests."""

    base_url: Annotated[str, AfterValidator(_endpoint)]
    model: Line
    """Its name on the server."""
    api_key_env: Annotated[str, Field(pattern="^[A-Z][A-Z0-9_]*$")] | None = None
    """The environment variable that holds the key; not needed by most local servers."""
    asks: Asks = "pair"
    mode: Mode | Literal["auto"] = "auto"
    """How verdicts are given; ``auto`` takes the best mode that the server supports."""
    scale: RatingScale = (1, 10)
    """The lowest and the highest score of a rating judge."""
    references: bool = True
    """Whether the judge sees the reference answers."""
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = 0.0
    """None leaves it to the server, for models without a temperature."""
    max_tokens: PositiveInt = 1024
    """Always sent: without it a local server may generate forever."""
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The server's name for ``max_tokens``."""
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    """Seconds for each attempt, from sending it to the last byte of the reply."""
    retries: NonNegativeInt = 2
    """Further attempts of a failed call."""
    concurrency: PositiveInt = 8
    patience: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 600.0
    """Seconds to wait for a server that has answered before and does not answer now."""
    prompt: Path | None = None
    """A Jinja2 template; the shipped one if not given."""
    verdicts: Labels = ("A", "B", "C")
    """The labels of: first answer better, second answer better, tie."""
    pattern: Annotated[str, AfterValidator(_one_group)] = r"\[\[([^\[\]]*)\]\]"
    """The regular expression of a verdict in a text; the group is its label or the score."""
    extra: Annotated[dict[str, JsonValue] | None, AfterValidator(_additional)] = None
    """Additional fields of a chat request, such as ``chat_template_kwargs``."""

    def __post_init__(self) -> None:
        self._prompt.check()
        try:
            _ = self.reader
        except TEMPLATE_ERRORS as error:
            why = one_line(error)
            raise AdakdError(f"prompt: {self._prompt.file} with empty texts: {why}") from None
        if self.mode != "auto" and form(self.mode) not in self._prompt.forms:
            raise AdakdError(f"mode: {self._prompt.file} ignores `form`; choose the mode text")
        if self.asks == "rating" and self.mode.endswith("+logprobs"):
            raise AdakdError("mode: a rating does not use logprobs; choose a mode without them")

    def traits(self) -> Traits:
        """Return the concurrency limit, the patience and the model."""
        return Traits(self.concurrency, self.asks, patience=self.patience, model=self.model)

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the settings that affect verdicts, with the prompt's text for its path."""
        names = [field.name for field in fields(self) if field.name not in _NOT_IN_FINGERPRINT]
        return {name: getattr(self, name) for name in names} | {"prompt": self._prompt.source}

    def tokens(self, question: Question) -> Tokens | None:
        """Estimate one token for every four bytes, and the longest reply."""
        longest = 0 if self.mode == "decision" else self.max_tokens
        how: Mode = "text" if self.mode == "auto" else self.mode
        return Tokens(ceil(len(self.render(question, form(how)).encode()) / 4), longest)

    def render(self, question: Question, form: Form = "text") -> str:
        """Return the prompt."""
        # a lone surrogate, which JSON may contain, cannot be sent
        return self._prompt.render(self._shown(question), form).encode(errors="replace").decode()

    def request(self, question: Question, mode: Mode) -> Request:
        """Return the request for a question."""
        return self._request(self.render(question, form(mode)), mode)

    def hello(self, mode: Mode) -> Request:
        """Return a trivial request with the settings of a question.

        Only a server that enforces a schema answers it in that schema.
        """
        return self._request(_HELLO, mode)

    def texts(self, question: Question) -> tuple[str, ...]:
        """Return the texts in the prompt that are not the judge's own."""
        shown = self._shown(question)
        item = shown.item
        texts = (item.instruction, item.input, *item.references, shown.first, shown.second)
        return tuple(text for text in texts if text)

    @cached_property
    def modes(self) -> tuple[Mode, ...]:
        """The possible modes, the best first."""
        if self.mode != "auto":
            return (self.mode,)
        if self._prompt.forms == ("text",):
            return ("text",)
        if self.asks == "rating":
            return ("decision", "json_schema", "json_object", "text")
        # each with its variant without logprobs: one request tests both
        return (
            "decision",
            "json_schema+logprobs",
            "json_schema",
            "json_object+logprobs",
            "json_object",
            "text",
        )

    @cached_property
    def reader(self) -> ReplyParser:
        """The parser of the replies."""
        blank = Question(ItemText("", "", ("",)), "", "" if self.asks == "pair" else None)
        prompt = self._prompt.render(blank, "text")
        return ReplyParser(self.asks, self.verdicts, self.scale, self.pattern, prompt)

    @cached_property
    def _prompt(self) -> PromptTemplate:
        ends = tuple(map(str, self.scale))
        labels = self.verdicts if self.asks == "pair" else ends
        return PromptTemplate(self.prompt or DEFAULTS[self.asks], self.asks, labels)

    def _shown(self, question: Question) -> Question:
        if self.references:
            return question
        return replace(question, item=replace(question.item, references=()))

    def _request(self, prompt: str, mode: Mode) -> Request:
        if mode == "decision":
            asked = typed_questions(self.asks, self.verdicts, self.scale)
            return Request("/systemone", {"model": self.model, "state": prompt, "questions": asked})
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            self.limit_field: self.max_tokens,
            **self._reply_as(mode),
            **(self.extra or {}),
        }
        if self.temperature is not None:
            body["temperature"] = self.temperature
        return Request("/chat/completions", body)

    def _reply_as(self, mode: Mode) -> dict[str, Any]:
        """Return the fields of a request that constrain the reply."""
        kind, _, logprobs = mode.partition("+")
        schema = self.reader.schema
        formats: dict[str, dict[str, Any]] = {
            "text": {},
            "json_schema": {"json_schema": {"name": "verdict", "strict": True, "schema": schema}},
            # as llama_cpp.server expects it
            "json_object": {"schema": schema},
        }
        bound = {"response_format": {"type": kind, **formats[kind]}} if formats[kind] else {}
        return bound | ({"logprobs": True, "top_logprobs": _TOP} if logprobs else {})


def form(mode: Mode) -> Form:
    """Return the form of the prompt that a mode needs."""
    return "decision" if mode == "decision" else "text" if mode == "text" else "json"
