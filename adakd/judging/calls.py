"""The calls of a chat judge: sent, retried and told apart; imported when a judging starts."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from time import perf_counter
from urllib.parse import urlsplit

import openai
from pydantic import BaseModel, Field, ValidationError

from adakd.judging.chat import Chat
from adakd.judging.judge import Ask, JudgeError, Question, Verdict

_HELLO = "Reply with the word yes and nothing else."
_OF_THE_ITEM = {400, 413, 422}
"""Refusals that may be due to one long or odd item; all others concern every question."""


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Reply(BaseModel):
    """What is read of a chat completion; our own model, since the client's checks nothing."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class _Unreadable(Exception):
    """A reply that is not a chat completion: an error page, broken JSON."""


@asynccontextmanager
async def connect(chat: Chat) -> AsyncIterator[Ask]:
    """Yield the asking function of one client, which serves one event loop.

    Raises:
        JudgeError: the key is missing, or the server does not answer as it should.
    """
    key = _key(chat)
    client = openai.AsyncOpenAI(
        base_url=chat.base_url,
        api_key=key or "none",  # left out, the client would take OPENAI_API_KEY and send it
        max_retries=chat.retries,
        timeout=openai.Timeout(chat.timeout, connect=min(chat.timeout, 10.0)),
        # a proxy set for the outside world cannot reach a server on this machine
        http_client=openai.DefaultAsyncHttpxClient(trust_env=not _on_this_machine(chat)),
    )
    async with client:
        calls = _Calls(chat, client, key)
        await calls.check()
        yield calls.ask


class _Calls:
    def __init__(self, chat: Chat, client: openai.AsyncOpenAI, key: str | None) -> None:
        self._chat = chat
        self._client = client
        self._key = key

    async def ask(self, question: Question) -> Verdict:
        """Return the verdict; a call that failed for good is a failed one, with its reason."""
        start = perf_counter()
        try:
            reply = await self._call(self._chat.render(question))
        except (openai.APIError, _Unreadable) as error:
            failed = Verdict("failed", self._explain(error), perf_counter() - start)
            if _concerns_all(error):
                await self.check()
            return failed
        first, usage = reply.choices[0], reply.usage or _Usage()
        choice, reason = self._chat.read(
            first.message.content or "", finished=first.finish_reason != "length"
        )
        return Verdict(
            choice,
            self._hide(reason),
            perf_counter() - start,
            usage.prompt_tokens,
            usage.completion_tokens,
        )

    async def check(self) -> None:
        """Ask for a word with the very settings of a question.

        Raises:
            JudgeError: no question could be answered; says which field to mend.
        """
        try:
            await self._call(_HELLO)
        except (openai.APIError, _Unreadable) as error:
            raise JudgeError(f"{self._field(error)}: {self._explain(error)}") from None

    async def _call(self, prompt: str) -> _Reply:
        """Return the reply; the client retries failed calls, and we replies that are none."""
        chat = self._chat
        body = {chat.limit_field: chat.max_tokens, **(chat.extra or {})}
        if chat.temperature is not None:
            body["temperature"] = chat.temperature
        content = b""
        for attempt in range(chat.retries + 1):
            if attempt:
                await asyncio.sleep(min(0.25 * 2**attempt, 8))
            response = await self._client.chat.completions.with_raw_response.create(
                model=chat.model,
                messages=[{"role": "user", "content": prompt}],
                extra_body=body,
            )
            content = response.http_response.content
            with suppress(ValidationError):
                return _Reply.model_validate_json(content)
        raise _Unreadable(content.decode(errors="replace"))

    def _explain(self, error: Exception) -> str:
        """Return what went wrong in one short line, without the key."""
        where = self._chat.base_url
        if isinstance(error, openai.APITimeoutError):
            return f"{where} did not answer within {self._chat.timeout:g} s"
        if isinstance(error, openai.APIConnectionError):
            return f"no server answers at {where} ({error.__cause__ or error})"
        if isinstance(error, openai.APIStatusError):
            said = self._short(error.response.text)
            return (
                f"{where} answers HTTP {error.status_code}: {said or error.response.reason_phrase}"
            )
        return f"{where} sends no chat completion but: {self._short(str(error))}"

    def _field(self, error: Exception) -> str:
        """Return the field of the judge file that is to blame, with the fix."""
        chat = self._chat
        if isinstance(error, openai.APITimeoutError):
            return "timeout (raise it, or look after the server)"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            if chat.api_key_env is None:
                return "api_key_env (name the variable that holds the key)"
            return f"api_key_env (mend the key in {chat.api_key_env})"
        if isinstance(error, openai.NotFoundError):
            return f"model ({chat.model!r} is unknown there, or base_url does not end in /v1)"
        if isinstance(error, openai.RateLimitError):
            return "concurrency (lower it, or wait, then run the same command again)"
        if isinstance(error, openai.APIStatusError) and error.status_code in _OF_THE_ITEM:
            return f"model ({chat.model!r}, or another setting that the server refuses)"
        return "base_url (start the server, or mend the address)"

    def _short(self, text: str) -> str:
        return " ".join(self._hide(text).split())[:300]

    def _hide(self, text: str) -> str:
        """Return a text of the server without the key, should it repeat it."""
        return text.replace(self._key, "***") if self._key else text


def _concerns_all(error: Exception) -> bool:
    """Whether the next question may fail the same way; a slow item must not end a judging."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code not in _OF_THE_ITEM
    return not isinstance(error, openai.APITimeoutError)


def _key(chat: Chat) -> str | None:
    if chat.api_key_env is None:
        return None
    key = os.environ.get(chat.api_key_env, "").strip()
    if not key:
        raise JudgeError(
            f"api_key_env: the environment variable {chat.api_key_env} is not set; "
            "export the key under that name"
        )
    if not (key.isascii() and key.isprintable()):
        raise JudgeError(f"api_key_env: the value of {chat.api_key_env} cannot be a key; mend it")
    return key


def _on_this_machine(chat: Chat) -> bool:
    host = urlsplit(chat.base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
