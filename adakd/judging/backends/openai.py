"""Judges behind any OpenAI-compatible server, hosted or local."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adakd.judging.backends.openai_settings import OpenAISettings
from adakd.judging.base import Session, judge_backend


@judge_backend("openai")
class OpenAI(OpenAISettings):
    """Asks a chat model, which sees the instruction, the references and one or both answers."""

    @asynccontextmanager
    async def open(self, mode: str | None = None) -> AsyncIterator[Session]:
        """Connect, and find the mode of the server's verdicts unless it is known.

        Fails at once on a wrong address, key or model.

        Raises:
            JudgeError: the key is missing, or the server cannot be used.
        """
        # importing an HTTP client is slow, and loading a judge needs none
        from adakd.judging.backends.openai_calls import connect
        from adakd.judging.backends.openai_modes import find_mode

        async with connect(self) as calls:
            verdict_mode = await find_mode(calls, self, mode)
            yield Session(calls.asker(verdict_mode), verdict_mode)
