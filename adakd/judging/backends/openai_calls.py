"""The calls of a chat judge: sent, told apart when they fail, and their replies read."""

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
    Service,
    Transport,
    Unreadable,
    Usage,
)
from adakd.judging.backends.openai_settings import Mode, OpenAISettings, Request
from adakd.judging.backends.parsing import kept
from adakd.judging.base import Ask, JudgeError, Question, Verdict

_OF_THE_ITEM = {400, 413, 422}
"""Refusals that may be due to one long or odd item; all others concern every question."""
_CUT = {"length": "max_tokens reached", "content_filter": "cut off by the server's filter"}
_UNFIT = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError)
"""What a template may raise on a text that it does not bear."""


@asynccontextmanager
async def connect(chat: OpenAISettings) -> AsyncIterator["Calls"]:
    """Yield the calls of one client, which serves one event loop.

    Raises:
        JudgeError: the key is missing.
    """
    key = ApiKey(chat.api_key_env)
    client = Service(
        base_url=chat.base_url,
        api_key=key.value or "none",  # left out, the client would take OPENAI_API_KEY and send it
        max_retries=chat.retries,
        http_client=Transport(chat),
    )
    async with client:
        yield Calls(chat, client, key)


class Calls:
    """What can be asked of one server."""

    def __init__(self, chat: OpenAISettings, client: Service, key: ApiKey) -> None:
        self._chat = chat
        self._client = client
        self._key = key
        self._checking = asyncio.Lock()
        self._checks = 0
        self._late = 0
        """Timeouts since the last reply."""

    def asking(self, mode: Mode) -> Ask:
        """Return what answers questions in a mode."""

        async def ask(question: Question) -> Verdict:
            start = perf_counter()
            verdict, error = await self._tried(question, mode)
            seconds = perf_counter() - start
            if error is not None and self._concerns_all(error):
                await self.check(mode)
            reason = kept(self._key.hidden(verdict.reason))
            return replace(verdict, reason=reason, seconds=seconds)

        return ask

    async def send(self, request: Request, retries: int | None = None) -> Completion | Decisions:
        """Return the reply to a request.

        Raises:
            openai.OpenAIError: there is none, however often it was tried.
        """
        # the typed methods of the client take twice its time, which adds up over many questions
        response = await self._client.post(
            request.path,
            body=dict(request.body),
            cast_to=httpx2.Response,
            options={"max_retries": self._chat.retries if retries is None else retries},
        )
        reply: Completion | Decisions = response.extensions["reply"]
        return reply

    def read(self, reply: Completion | Decisions, mode: Mode, texts: Iterable[str] = ()) -> Verdict:
        """Return what a reply decides.

        Args:
            reply: to a request in this mode.
            mode: how it was to be given.
            texts: what others wrote of what the judge was shown.
        """
        chat, usage = self._chat, reply.usage or Usage()
        if isinstance(reply, Decisions):
            verdict = read_verdict(reply.answers, chat.asks, chat.verdicts, chat.scale)
        else:
            said = reply.choices[0]
            content, cut = said.message.content or "", _CUT.get(said.finish_reason or "")
            if said.message.refusal and not content:
                verdict = Verdict("failed", f"refused: {said.message.refusal}")
            elif mode == "text":
                verdict = chat.reader.from_text(content, cut, texts)
            else:
                verdict = chat.reader.from_json(content, cut, said.logprobs)
        return replace(verdict, prompt_tokens=usage.prompt, completion_tokens=usage.completion)

    async def check(self, mode: Mode) -> None:
        """Ask for next to nothing with the very settings of a question.

        Calls that fail together share one check.

        Raises:
            JudgeError: no question could be answered; says which field to mend.
        """
        before = self._checks
        async with self._checking:
            if self._checks > before:
                return
            try:
                await self.send(self._chat.hello(mode))
            except openai.OpenAIError as error:
                raise JudgeError(f"{self._field(error, mode)}: {self._explain(error)}") from None
            self._checks += 1

    async def _tried(
        self, question: Question, mode: Mode
    ) -> tuple[Verdict, openai.OpenAIError | None]:
        """Return the verdict; a call that failed for good is a failed one, with its reason."""
        try:
            request = self._chat.request(question, mode)
        except _UNFIT as error:
            why = f"prompt: it does not bear this item ({type(error).__name__}: {error})"
            return Verdict("failed", why), None
        try:
            reply = await self.send(request)
        except openai.OpenAIError as error:
            return Verdict("failed", self._explain(error)), error
        self._late = 0
        return self.read(reply, mode, self._chat.texts(question)), None

    def _concerns_all(self, error: openai.OpenAIError) -> bool:
        """Whether the next question may fail the same way; a slow item must not end a judging."""
        if isinstance(error, openai.APITimeoutError):
            self._late += 1
            if self._late < max(4, self._chat.concurrency):
                return False
            self._late = 0
            return True
        self._late = 0
        status = getattr(error, "status_code", None)
        return status not in _OF_THE_ITEM

    def _explain(self, error: openai.OpenAIError) -> str:
        """Return what went wrong in one short line, without the key."""
        where, cause = self._chat.base_url, error.__cause__
        if isinstance(error, openai.APITimeoutError):
            return f"{where} did not answer within {self._chat.timeout:g} s"
        if isinstance(error, openai.APIStatusError):
            said = self._short(error.response.text) or error.response.reason_phrase
            return f"{where} answers HTTP {error.status_code}: {said}"
        if isinstance(cause, Unreadable):
            return f"{where} sends no verdict but: {self._short(str(cause)) or 'nothing'}"
        if isinstance(cause, httpx2.ConnectError):
            return f"no server answers at {where} ({self._short(str(cause))})"
        return f"the connection to {where} broke ({self._short(str(cause or error))})"

    def _field(self, error: openai.OpenAIError, mode: Mode) -> str:
        """Return the field of the judge file that is to blame, with the fix."""
        chat = self._chat
        if isinstance(error, openai.APITimeoutError):
            return "timeout (raise it, or look after the server)"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            if chat.api_key_env is None:
                return "api_key_env (name the variable that holds the key)"
            return f"api_key_env (mend the key in {chat.api_key_env})"
        if isinstance(error, openai.NotFoundError) and mode == "decision":
            return f"mode (no typed decisions there; choose another, or mend {chat.model!r})"
        if isinstance(error, openai.NotFoundError):
            return f"model ({chat.model!r} is unknown there, or base_url does not end in /v1)"
        if isinstance(error, openai.RateLimitError):
            return "concurrency (lower it, or wait, then run the same command again)"
        if isinstance(error, openai.APIStatusError) and error.status_code in _OF_THE_ITEM:
            return f"model ({chat.model!r}, or another setting that the server refuses)"
        return "base_url (start the server, or mend the address)"

    def _short(self, text: str) -> str:
        return " ".join(self._key.hidden(text).split())[:300]
