"""Answers decoded by a server of its own: vLLM, SGLang or any other with OpenAI's completions.

The server runs in an environment of its own, since its packages rarely go with those of a training.
For each model the suite's command starts one, on a copy of the model, and it ends with its unit.
"""

import asyncio
import hashlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import openai

from adakd import interrupts
from adakd.config.scoring import OwnEngine, Server
from adakd.errors import AdakdError, one_line
from adakd.models.decoding import DECODERS, Decoder, Ends, OnDone, Request
from adakd.policies import Decoding

_STARTS = 3
"""Times that a server is started for a model before its failure ends the run."""
_POLL = 0.2
"""Seconds between two looks at a server that is starting."""
_ENDING = 15.0
"""Seconds that a server has to end."""
_TAIL = 3
"""Lines of a server's output that a message repeats."""


@contextmanager
def answers_of(engine: OwnEngine | Server, tokenizer: Any, folder: Path) -> Iterator["Answers"]:
    """Yield what decodes the answers of one model; a server ends with the block.

    Args:
        engine: that of ``evaluation.engine``.
        tokenizer: that of the model.
        folder: a new one, for what a server reads; it is removed.
    """
    if isinstance(engine, str):
        yield OwnAnswers(DECODERS[engine])
        return
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield ServedAnswers(engine, tokenizer, folder, stack)


def check_server(server: Server) -> None:
    """Check that the program of a server's command is there.

    Raises:
        AdakdError: it is not.
    """
    program = shlex.split(server.start)[0]
    if shutil.which(program) is None:
        raise AdakdError(
            f"evaluation.engine.start: there is no program {program!r}: install it in an "
            "environment of its own and give its path, or set evaluation.engine: continuous"
        )


class Answers(Decoder, Protocol):
    """Decodes the answers of one model, which may have to make room meanwhile."""

    def hand_back(self, model: Any) -> None:
        """Let the model be read in this process."""
        ...


class OwnAnswers:
    """Decodes by an engine of this process."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def __call__(self, *args: Any, **options: Any) -> list[list[int]]:
        """Return the token ids of the responses."""
        return self._decoder(*args, **options)

    def hand_back(self, model: Any) -> None:
        """Do nothing: the model is here."""


class ServedAnswers:
    """Decodes by a server, which is started for the first requests.

    The seed of a request is a hash of its stream: the same answer each time from the same server,
    but another one than the engines of this process draw. Greedy answers are the same, to rounding.

    Args:
        server: its settings.
        tokenizer: turns texts into tokens where the server returns no ids.
        folder: gets a copy of the model and the server's output.
        stack: ends the server.
    """

    def __init__(self, server: Server, tokenizer: Any, folder: Path, stack: ExitStack) -> None:
        self.server, self.tokenizer, self.folder = server, tokenizer, folder
        self._stack = stack
        self._process: _Process | None = None
        self._device: Any = None
        """Of the model, where it has made room."""

    def __call__(
        self,
        model: Any,
        requests: Sequence[Request],
        decoding: Decoding,
        ends: Ends,
        size: int,
        on_done: OnDone = lambda _: None,
    ) -> list[list[int]]:
        """Return the token ids of the responses; the model makes room for the server.

        It waits in the memory of the processor until :meth:`hand_back`.

        Raises:
            AdakdError: the server does not start, refuses a request, or is lost again and again.
        """
        found: dict[int, list[int]] = {}
        if self._device is None:
            self._device = model.device
            model.to("cpu")
        self._save(model)
        dtype = str(model.dtype).removeprefix("torch.")
        for left in reversed(range(_STARTS)):
            process = self._running(dtype)
            try:
                asyncio.run(self._ask(process, requests, found, decoding, ends, size, on_done))
                return [ends.cut(found[number]) for number in range(len(requests))]
            except openai.APIError as error:
                why, status = one_line(error), getattr(error, "status_code", 500)
            if status < 500:
                raise self._failed(f"it refuses a request: {why}")
            process.end()
            if not left:
                raise self._failed(f"it was started {_STARTS} times and did not answer: {why}")
        raise AssertionError

    def hand_back(self, model: Any) -> None:
        """End the server, and move the model back to its device."""
        if self._device is not None:
            if self._process is not None:
                self._process.end()
            model.to(self._device)
            self._device = None

    def _save(self, model: Any) -> None:
        """Save a copy of the model, in the precision that it is scored in."""
        if (self.folder / "model").exists():
            return
        model.save_pretrained(self.folder / "model")
        self.tokenizer.save_pretrained(self.folder / "model")

    def _running(self, dtype: str) -> "_Process":
        """Return the server's process, started where there is none any more."""
        if self._process is None or not self._process.alive:
            try:
                self._process = _Process(self.server, self.folder, dtype)
            except OSError as error:
                raise self._failed(f"it cannot be started: {error.strerror}") from None
            self._stack.callback(self._process.end)
            if not asyncio.run(self._ready(self._process)):
                code = self._process.code
                self._process.end()
                raise self._failed(
                    f"it has not answered within {self.server.wait:g} s (evaluation.engine.wait)"
                    if code is None
                    else f"it ended with code {code}"
                )
        return self._process

    async def _ready(self, process: "_Process") -> bool:
        """Wait for a server; return whether it answers."""
        until = time.monotonic() + self.server.wait
        async with self._client(process, retries=0) as client:
            while time.monotonic() < until and process.alive:
                interrupts.check()
                with suppress(openai.APIError):
                    await client.models.list(timeout=5)
                    return True
                await asyncio.sleep(_POLL)
        return False

    async def _ask(
        self,
        process: "_Process",
        requests: Sequence[Request],
        found: dict[int, list[int]],
        decoding: Decoding,
        ends: Ends,
        size: int,
        on_done: OnDone,
    ) -> None:
        """Fill in the answers that are not there yet, so many requests at a time."""
        left = iter([number for number in range(len(requests)) if number not in found])
        async with self._client(process, self.server.retries) as client:

            async def work() -> None:
                for number in left:
                    interrupts.check()
                    body = _body(requests[number], decoding, ends)
                    done = await client.completions.create(model=process.model, **body)
                    if not done.choices:
                        raise self._failed("a reply has no choices")
                    found[number] = self._tokens(done.choices[0], ends)
                    on_done(1)

            await asyncio.gather(*(work() for _ in range(size)))

    def _tokens(self, choice: Any, ends: Ends) -> list[int]:
        """Return the tokens of a reply: its ids where the server sends them, else its text's."""
        ids = (choice.model_extra or {}).get("token_ids")
        tokens = (
            [*ids] if ids else self.tokenizer(choice.text, add_special_tokens=False)["input_ids"]
        )
        ended = choice.finish_reason == "stop" and ends.end not in tokens
        return [*tokens, ends.end] if ended else tokens

    @asynccontextmanager
    async def _client(self, process: "_Process", retries: int) -> AsyncIterator[openai.AsyncOpenAI]:
        async with openai.AsyncOpenAI(
            base_url=process.base_url,
            api_key="none",  # the server is ours; without one the client would send OPENAI_API_KEY
            max_retries=retries,
            timeout=self.server.timeout,
        ) as client:
            yield client

    def _failed(self, why: str) -> AdakdError:
        lines = self._process.output() if self._process else []
        said = f"; its last lines: {' | '.join(lines)}" if lines else ""
        return AdakdError(
            f"evaluation.engine: the server {self.server.start!r} failed: {why}{said}; fix the "
            "command, or set evaluation.engine: continuous; what is recorded stays"
        )


class _Process:
    """A server that runs, at a port of its own."""

    def __init__(self, server: Server, folder: Path, dtype: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        named = {"folder": str((folder / "model").resolve()), "port": str(port), "dtype": dtype}
        self.base_url, self.model = server.base_url.format(**named), server.model.format(**named)
        self._log = folder / "server.log"
        command = [part.format(**named) for part in shlex.split(server.start)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    @property
    def alive(self) -> bool:
        return self.code is None

    @property
    def code(self) -> int | None:
        """Exit code, negative by a signal; None while it runs."""
        return self._process.poll()

    def output(self) -> list[str]:
        """Return the last lines that it has written."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return [line.strip() for line in text.splitlines() if line.strip()][-_TAIL:]

    def end(self) -> None:
        """End it with all that it has started."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDING)
                return


def _body(request: Request, decoding: Decoding, ends: Ends) -> dict[str, Any]:
    """Return what is asked for a request; what OpenAI does not have is as vLLM and SGLang do."""
    extra: dict[str, Any] = {"stop_token_ids": [ends.end], "return_token_ids": True}
    if decoding.top_k:
        extra["top_k"] = decoding.top_k
    return {
        "prompt": [*request.prompt],
        "max_tokens": request.limit,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "seed": int.from_bytes(hashlib.sha256(request.stream.encode()).digest()[:4]) >> 1,
        "extra_body": extra,
    }
