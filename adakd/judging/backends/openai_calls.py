"""The calls of an OpenAI-compatible judge: requests, error handling and reply parsing."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from time import perf_counter

import httpx2
import openai

from adakd.judging.backends.api_key import ApiKey
from adakd.judging.backends.label_probabilities import read_verdict
from adakd.judging.backends.openai_client import HttpClient, JudgeClient
from adakd.judging.backends.openai_replies import Completion, CompletionChoice, Decisions, Usage
from adakd.judging.backends.openai_settings import Mode, OpenAISettings, Request
from adakd.judging.backends.parsing import kept
from adakd.judging.backends.prompt_templates import TEMPLATE_ERRORS
from adakd.judging.backends.server_errors import ITEM_ERRORS, ServerErrors
from adakd.judging.base import Ask, JudgeError, Outage, Question, Verdict

_LIMIT, _FILTER = "max_tokens reached", "cut off by the server's filter"
_BROKEN = "broken off by the server"
_CUT = {
    **dict.fromkeys(("length", "max_tokens", "model_length"), _LIMIT),
    **dict.fromkeys(("content_filter", "safety", "recitation", "refusal"), _FILTER),
    **dict.fromkeys(("error", "abort", "cancelled", "insufficient_system_resource"), _BROKEN),
}
"""Finish reasons of a reply that is not whole, in OpenAI's words and in those of other servers."""
_WORD = re.compile(r"[^\W\d_]+")
_LEAST_SHARE = 0.8
"""Fewer tokens than this share of a prompt's words mean that it was cut: a tokenizer that splits at
words makes at least one token of each."""


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
        self._errors = ServerErrors(settings, key)
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
            verdict = self._read_choice(reply.choices[0], mode, texts)
        return replace(verdict, prompt_tokens=usage.prompt, completion_tokens=usage.completion)

    def _read_choice(self, choice: CompletionChoice, mode: Mode, texts: Iterable[str]) -> Verdict:
        message, cut = choice.message, _CUT.get((choice.finish_reason or "").lower())
        content = message.content or ""
        if content.strip():
            reader = self._settings.reader
            if mode == "text":
                verdict = reader.from_text(content, cut, texts)
            else:
                verdict = reader.from_json(content, cut, choice.logprobs)
        elif message.refusal:
            verdict = Verdict("failed", f"refused: {message.refusal}")
        elif message.reasoning:
            why = f"{cut} while thinking" if cut else "an empty reply beside the reasoning"
            verdict = Verdict(
                "failed",
                f"{why} (raise max_tokens, or switch reasoning off with `extra`); the server "
                f"sent only reasoning_content: {message.reasoning}",
            )
        elif message.tool_calls:
            verdict = Verdict("failed", "a call of a tool instead of a reply: give the model none")
        else:
            verdict = Verdict("failed", f"an empty reply, {cut}" if cut else "an empty reply")
        return replace(verdict, lasts=False) if cut == _BROKEN else verdict

    async def check(self, mode: Mode) -> None:
        """Send a trivial request with the settings of a question.

        Calls that fail together share one check.

        Raises:
            Outage: no question can be answered now.
            JudgeError: no question could be answered; names the field to fix.
        """
        before = self._checks
        async with self._checking:
            if self._checks > before:
                return
            try:
                await self.send(self._settings.hello(mode))
            except openai.OpenAIError as error:
                kind = Outage if self._errors.may_pass(error) else JudgeError
                raise kind(self._errors.with_field(error, mode)) from None
            self._checks += 1

    async def _attempt(
        self, question: Question, mode: Mode
    ) -> tuple[Verdict, openai.OpenAIError | None]:
        """Return the verdict, a failed one with its reason if no attempt succeeded."""
        try:
            request = self._settings.request(question, mode)
        except TEMPLATE_ERRORS as error:
            why = f"prompt: the template fails on this item ({type(error).__name__}: {error})"
            return Verdict("failed", why), None
        try:
            reply = await self.send(request)
        except openai.OpenAIError as error:
            lasts = not self._errors.may_pass(error)
            return Verdict("failed", self._errors.explain(error), lasts=lasts), error
        self._late = 0
        verdict = self.read(reply, mode, self._settings.texts(question))
        return replace(verdict, prompt_cut=_is_cut(request, verdict.prompt_tokens)), None

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
        return status not in ITEM_ERRORS


def _is_cut(request: Request, tokens: int | None) -> bool:
    """Tell whether a server counts far fewer tokens of a prompt than it has words.

    No count, or none of its tokens, says nothing.
    """
    words = sum(1 for _ in _WORD.finditer(request.prompt))
    return tokens is not None and 0 < tokens < _LEAST_SHARE * words
