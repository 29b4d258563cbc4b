"""The calls of an OpenAI-compatible judge: requests, error handling and reply parsing."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from time import perf_counter

import httpx2
import openai
from jinja2 import TemplateError

from adakd.judging.backends.api_key import ApiKey
from adakd.judging.backends.label_probabilities import read_verdict
from adakd.judging.backends.openai_client import (
    Completion,
    Decisions,
    HttpClient,
    JudgeClient,
    UnreadableReply,
    Usage,
)
from adakd.judging.backends.openai_settings import Mode, OpenAISettings, Request
from adakd.judging.backends.parsing import kept
from adakd.judging.base import Ask, JudgeError, Question, Verdict

_ITEM_ERRORS = {400, 413, 422}
"""Errors that one long or odd item can cause; all others concern every question."""
_CUT = {"length": "max_tokens reached", "content_filter": "cut off by the server's filter"}
_TEMPLATE_ERRORS = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError)
"""Errors a template can raise for a text that it cannot handle."""


@asynccontextmanager
async def connect(settings: OpenAISettings) -> AsyncIterator["Calls"]:
    """Yield the calls of a new client, to be used in one event loop.

    Raises:
        JudgeError: the key is missing.
    """
    key = ApiKey(settings.api_key_env)
    client = JudgeClient(
        base_url=settings.base_url,
        api_key=key.value or "none",  # without one, the client would send OPENAI_API_KEY
        max_retries=settings.retries,
        http_client=HttpClient(settings),
    )
    async with client:
        yield Calls(settings, client, key)


class Calls:
    """Calls to one server."""

    def __init__(self, settings: OpenAISettings, client: JudgeClient, key: ApiKey) -> None:
        self._settings = settings
        self._client = client
        self._key = key
        self._checking = asyncio.Lock()
        self._checks = 0
        self._late = 0
        """Timeouts since the last reply."""

    def asker(self, mode: Mode) -> Ask:
        """Return a function that answers questions in a mode."""

        async def ask(question: Question) -> Verdict:
            start = perf_counter()
            verdict, error = await self._attempt(question, mode)
            seconds = perf_counter() - start
            if error is not None and self._concerns_all(error):
                await self.check(mode)
            reason = kept(self._key.hidden(verdict.reason))
            return replace(verdict, reason=reason, seconds=seconds)

        return ask

    async def send(self, request: Request, retries: int | None = None) -> Completion | Decisions:
        """Send a request and return the reply.

        Raises:
            openai.OpenAIError: no attempt got a readable reply.
        """
        # skips the typed methods of the client, which validate nothing and take twice the time
        response = await self._client.post(
            request.path,
            body=dict(request.body),
            cast_to=httpx2.Response,
            options={"max_retries": self._settings.retries if retries is None else retries},
        )
        reply: Completion | Decisions = response.extensions["reply"]
        return reply

    def read(self, reply: Completion | Decisions, mode: Mode, texts: Iterable[str] = ()) -> Verdict:
        """Return the verdict of a reply.

        Args:
            reply: to a request in this mode.
            mode: the mode of the request.
            texts: the texts in the prompt that are not the judge's own.
        """
        settings, usage = self._settings, reply.usage or Usage()
        if isinstance(reply, Decisions):
            verdict = read_verdict(reply.answers, settings.asks, settings.verdicts, settings.scale)
        else:
            choice = reply.choices[0]
            content, cut = choice.message.content or "", _CUT.get(choice.finish_reason or "")
            if choice.message.refusal and not content:
                verdict = Verdict("failed", f"refused: {choice.message.refusal}")
            elif mode == "text":
                verdict = settings.reader.from_text(content, cut, texts)
            else:
                verdict = settings.reader.from_json(content, cut, choice.logprobs)
        return replace(verdict, prompt_tokens=usage.prompt, completion_tokens=usage.completion)

    async def check(self, mode: Mode) -> None:
        """Send a trivial request with the settings of a question.

        Calls that fail together share one check.

        Raises:
            JudgeError: no question could be answered; names the field to fix.
        """
        before = self._checks
        async with self._checking:
            if self._checks > before:
                return
            try:
                await self.send(self._settings.hello(mode))
            except openai.OpenAIError as error:
                raise JudgeError(f"{self._field(error, mode)}: {self._explain(error)}") from None
            self._checks += 1

    async def _attempt(
        self, question: Question, mode: Mode
    ) -> tuple[Verdict, openai.OpenAIError | None]:
        """Return the verdict, a failed one with its reason if no attempt succeeded."""
        try:
            request = self._settings.request(question, mode)
        except _TEMPLATE_ERRORS as error:
            why = f"prompt: the template fails on this item ({type(error).__name__}: {error})"
            return Verdict("failed", why), None
        try:
            reply = await self.send(request)
        except openai.OpenAIError as error:
            return Verdict("failed", self._explain(error)), error
        self._late = 0
        return self.read(reply, mode, self._settings.texts(question)), None

    def _concerns_all(self, error: openai.OpenAIError) -> bool:
        """Tell whether the next question may fail too; one slow item must not end a judging."""
        if isinstance(error, openai.APITimeoutError):
            self._late += 1
            if self._late < max(4, self._settings.concurrency):
                return False
            self._late = 0
            return True
        self._late = 0
        status = getattr(error, "status_code", None)
        return status not in _ITEM_ERRORS

    def _explain(self, error: openai.OpenAIError) -> str:
        """Describe an error in one short line, without the key."""
        where, cause = self._settings.base_url, error.__cause__
        if isinstance(error, openai.APITimeoutError):
            return f"{where} did not answer within {self._settings.timeout:g} s"
        if isinstance(error, openai.APIStatusError):
            text = self._short(error.response.text) or error.response.reason_phrase
            return f"{where} answers HTTP {error.status_code}: {text}"
        if isinstance(cause, UnreadableReply):
            return f"{where} does not send a verdict but: {self._short(str(cause)) or 'nothing'}"
        if isinstance(cause, httpx2.ConnectError):
            return f"no server answers at {where} ({self._short(str(cause))})"
        return f"the connection to {where} broke ({self._short(str(cause or error))})"

    def _field(self, error: openai.OpenAIError, mode: Mode) -> str:
        """Return the field of the judge file that causes an error, with the fix."""
        settings = self._settings
        if isinstance(error, openai.APITimeoutError):
            return "timeout (raise it, or check the server)"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            if settings.api_key_env is None:
                return "api_key_env (name the variable that holds the key)"
            return f"api_key_env (fix the key in {settings.api_key_env})"
        if isinstance(error, openai.NotFoundError) and mode == "decision":
            return (
                f"mode (no typed decisions there; choose another, or fix model {settings.model!r})"
            )
        if isinstance(error, openai.NotFoundError):
            return f"model ({settings.model!r} is unknown there, or base_url does not end in /v1)"
        if isinstance(error, openai.RateLimitError):
            return "concurrency (lower it, or wait, then run the same command again)"
        if isinstance(error, openai.APIStatusError) and error.status_code in _ITEM_ERRORS:
            return f"model ({settings.model!r}, or another setting that the server rejects)"
        return "base_url (start the server, or fix the address)"

    def _short(self, text: str) -> str:
        return " ".join(self._key.hidden(text).split())[:300]
