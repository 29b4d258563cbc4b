"""A judge behind any OpenAI-compatible server, hosted or on this machine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adakd.judging.backends.openai_settings import OpenAISettings
from adakd.judging.base import Session, judge_backend


@judge_backend("openai")
class OpenAI(OpenAISettings):
    """Shows a chat model the instruction, the references and one or both answers."""

    @asynccontextmanager
    async def open(self, mode: str | None = None) -> AsyncIterator[Session]:
        """Connect, and find out how the server gives verdicts, unless that is known.

        A wrong address, key or model is known at once.

        Raises:
            JudgeError: the key is missing, or the server does not answer as it should.
        """
        # an HTTP client takes its time to import, and loading a judge needs none
        from adakd.judging.backends.openai_calls import connect
        from adakd.judging.backends.openai_modes import find_mode

        async with connect(self) as calls:
            how = await find_mode(calls, self, mode)
            yield Session(calls.asking(how), how)
