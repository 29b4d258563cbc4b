"""The replies of an OpenAI-compatible server: the few fields that a verdict is read from.

Servers differ in the rest. A field beside the verdict that has another type than OpenAI's, or bytes
that are no strict JSON, cost no verdict; openai's own models validate nothing.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

_REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
"""The names that servers have for a model's reasoning beside its reply."""
_TEXT_PARTS = ("text", "output_text")
_MOST_TOKENS = 10**9
"""More in one reply are no count."""


def _text(content: Any) -> Any:
    """Return the text of a content that is a list of parts; parts of reasoning are none."""
    if not isinstance(content, list):
        return content
    return "".join(part["text"] for part in content if _is_text(part))


def _is_text(part: Any) -> bool:
    is_text = isinstance(part, dict) and part.get("type") in _TEXT_PARTS
    return is_text and isinstance(part.get("text"), str)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of reasoning: a text, or parts such as ``{"type": "...", "text": "..."}``."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, dict):
        yield from _texts([value.get(name) for name in ("text", "thinking", "summary")])


def _of(kind: type) -> BeforeValidator:
    """Return a validator that takes a value of any other type for a missing one."""
    return BeforeValidator(lambda value: value if type(value) is kind else None)


def _count(value: Any) -> int | None:
    """Return a number of tokens; None for what is none."""
    return int(value) if type(value) in (int, float) and 0 <= value < _MOST_TOKENS else None


_Count = Annotated[int | None, BeforeValidator(_count)]


class _Message(BaseModel):
    content: Annotated[str | None, BeforeValidator(_text)] = None
    refusal: Annotated[str | None, _of(str)] = None
    reasoning: str = ""
    """Under any of its names."""
    tool_calls: Annotated[list[Any] | None, _of(list)] = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return {} if fields is None else fields
        content = fields.get("content")
        parts = content if isinstance(content, list) else []
        thoughts = [part for part in parts if not _is_text(part)]
        found = next(filter(None, map(fields.get, _REASONING)), thoughts)
        return {**fields, "reasoning": " ".join(_texts(found))}


class CompletionChoice(BaseModel):
    """The only choice of a chat completion."""

    message: _Message
    finish_reason: Annotated[str | None, _of(str)] = None
    logprobs: Any = None


class Usage(BaseModel):
    """Token counts, under their names in chat completions and in typed decisions."""

    prompt: _Count = Field(None, validation_alias=AliasChoices("prompt_tokens", "input_tokens"))
    completion: _Count = Field(
        None, validation_alias=AliasChoices("completion_tokens", "output_tokens")
    )


class Completion(BaseModel):
    """A chat completion."""

    choices: list[CompletionChoice] = Field(min_length=1)
    usage: Annotated[Usage | None, _of(dict)] = None


class Decisions(BaseModel):
    """A reply to typed questions."""

    answers: dict[str, Any]
    usage: Annotated[Usage | None, _of(dict)] = None


R = TypeVar("R", Completion, Decisions)


def read_reply(content: bytes, text: str, kind: type[R]) -> R | None:
    """Return the reply in the body of a response, or None if it is none.

    Args:
        content: the body.
        text: the body, decoded; read where the bytes are no strict JSON in UTF-8: with a byte order
            mark, half a character, or control characters inside a text.
        kind: of the reply.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        pass
    try:
        return kind.model_validate(_loaded(text))
    except ValueError:
        return None


def error_status(text: str) -> int | None:
    """Return the HTTP status of an error that a server reports under status 200.

    OpenRouter does so, for the whole reply or for its only choice, once it has begun to answer.
    """
    if '"error"' not in text:
        return None
    try:
        reply = _loaded(text)
        holder = reply if "error" in reply else reply["choices"][0]
        code = holder["error"]["code"]
    except (ValueError, LookupError, TypeError):
        return None
    return code if type(code) is int and 400 <= code < 600 else None


def _loaded(text: str) -> Any:
    try:
        return json.loads(text.lstrip("\ufeff"), strict=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
