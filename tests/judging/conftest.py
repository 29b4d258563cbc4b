"""A judge server on this machine that says what a test wants, and a finished run to judge."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from adakd.judging import ItemText, OpenAI, Question, Verdict
from adakd.planning import Cell
from adakd.store import Store
from adakd.store.records import Item, ScoreRecord


@dataclass
class Reply:
    """What the server sends back."""

    body: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    hang: bool = False
    drop: bool = False
    """Whether the connection closes without a response."""
    cut: bool = False
    """Whether the connection closes in the middle of the body."""
    drip: bool = False
    """Whether the body never ends: a byte at a time."""


class Server(ThreadingHTTPServer):
    """Answers `script` to questions and `hello` to what is asked before and between them.

    It offers no typed decisions and enforces no schema, unless a test scripts `decide` or `hello`.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: Callable[[str], Reply] = lambda prompt: self.says("[[C]]")
        self.hello: Callable[[], Reply] = lambda: self.says("yes")
        self.decide: Callable[[str], Reply] = lambda state: self.reply("not found", 404)
        self.questions: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.under_way = self.most_under_way = 0
        self.closing = threading.Event()
        self.lock = threading.Lock()

    @property
    def keys(self) -> list[str | None]:
        return [sent.get("Authorization") for sent in self.headers]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @staticmethod
    def reply(body: str, status: int = 200, **rest: Any) -> Reply:
        return Reply(body, status, **rest)

    @staticmethod
    def says(
        text: str | None,
        finish: str = "stop",
        logprobs: Any = None,
        tokens: int | None = 1011,
        **more: Any,
    ) -> Reply:
        """Return a chat completion; `more` are further fields of the message."""
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
        choice["message"] |= more
        choice |= {"finish_reason": finish, "logprobs": logprobs}
        usage = {"prompt_tokens": tokens, "completion_tokens": 3}
        return Reply(json.dumps({"choices": [choice], "usage": usage}))

    @staticmethod
    def decides(**probabilities: float) -> Reply:
        """Return a typed decision, as ``transformers serve`` does."""
        best = max(probabilities, key=lambda name: probabilities[name])
        answer = {"type": "choice", "choice": best, "probabilities": probabilities}
        usage = {"input_tokens": 1011, "output_tokens": 0}
        return Reply(json.dumps({"model": "m", "answers": {"verdict": answer}, "usage": usage}))

    @staticmethod
    def shown(prompt: str, letter: str) -> str:
        """Return answer A or B as a prompt shows it."""
        return prompt.partition(f"begin answer {letter}\n")[2].partition("\n===")[0]

    def prefer(self, word: str) -> None:
        """Prefer the answer with `word` in it, wherever it stands."""
        self.script = lambda prompt: self.says(
            "[[A]]" if word in self.shown(prompt, "A") else "[[B]]"
        )

    def respond(self, path: str, body: dict[str, Any]) -> Reply:
        """Note a request and return what the test's script says to it."""
        prompt = body["state"] if "state" in body else body["messages"][-1]["content"]
        with self.lock:
            self.bodies.append(body)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            if is_question := "begin instruction" in prompt:
                self.questions.append(prompt)
        if path == "/v1/systemone":
            return self.decide(prompt)
        return self.script(prompt) if is_question else self.hello()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        server = self.server
        server.headers.append({k.title(): v for k, v in self.headers.items()})
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = server.respond(self.path, body)
        if reply.hang:
            server.closing.wait(5)
        with server.lock:
            server.under_way -= 1
        if reply.drop:
            self.close_connection = True
            return
        self.send(reply)

    def send(self, reply: Reply) -> None:
        body = reply.body.encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": reply.content_type, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + 10**6 * (reply.cut or reply.drip)))
        self.end_headers()
        self.wfile.write(body)
        while reply.drip and not self.server.closing.wait(0.02):
            self.wfile.write(b" ")

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


WriteJudge = Callable[..., str]


@pytest.fixture
def judge_file(tmp_path: Path, server: Server) -> WriteJudge:
    """Write a judge file for the stub server and return its path."""

    def write(**settings: Any) -> str:
        file = tmp_path / "stub.yaml"
        known = {"kind": "openai", "base_url": server.url, "model": "m", "mode": "text"}
        known |= {"retries": 1, "timeout": 3}
        file.write_text(yaml.safe_dump({**known, **settings}), encoding="utf-8")
        return str(file)

    return write


Ask = Callable[..., list[Verdict]]


@pytest.fixture
def ask(server: Server) -> Ask:
    """Open the stub server's judge as a judging does, and return its verdicts on questions."""

    def asked(*questions: Question, found: str | None = None, **settings: Any) -> list[Verdict]:
        known = {"base_url": server.url, "model": "m", "mode": "text", "retries": 1, "timeout": 3.0}
        chat = OpenAI(**{**known, **settings})

        async def session() -> list[Verdict]:
            async with chat.open(found) as opened:
                slots = asyncio.Semaphore(chat.concurrency)

                async def one(question: Question) -> Verdict:
                    async with slots:
                        return await opened.ask(question)

                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(question)) for question in questions]
                return [task.result() for task in tasks]

        try:
            return asyncio.run(session())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    return asked


@pytest.fixture
def make_cell() -> Callable[..., Cell]:
    """Return a cell of a small run."""

    def make(
        arm: str = "plain", seed: int = 1, role: Any = "distilled", label: str = "rkl"
    ) -> Cell:
        divergence = label if role in ("distilled", "elsewhere") else None
        key = f"{role}-{divergence}-{arm}-{seed}"
        return Cell(role=role, seed=seed, divergence=divergence, arm=arm, key=key)

    return make


@pytest.fixture
def make_score() -> Callable[..., ScoreRecord]:
    """Return the answers of a cell."""

    def make(
        cell: Cell,
        answers: Mapping[str, str | None],
        task: str = "set",
        sampling_seed: int | None = 10,
    ) -> ScoreRecord:
        return ScoreRecord(
            key=f"{cell.key}-{task}-{sampling_seed}",
            cell=cell,
            task=task,
            sort="answers",
            metric="rouge_l",
            title="ROUGE-L",
            scale=100,
            answers=f"{cell.key}-{task}-{sampling_seed}",
            sampling_seed=sampling_seed,
            value=0.0,
            n=len(answers),
            seconds=0.0,
            items=tuple(Item(id=name, value=0.0, answer=text) for name, text in answers.items()),
        )

    return make


@pytest.fixture
def items() -> dict[str, dict[str, ItemText]]:
    return {
        "set": {
            str(n): ItemText(f"Instruction {n}", "", (f"the good answer to {n}",)) for n in range(6)
        }
    }


@pytest.fixture
def store(
    tmp_path: Path, make_cell: Callable[..., Cell], make_score: Callable[..., ScoreRecord]
) -> Store:
    """Return a run of one pair: the adaptive arm is better on five items, the same on the last."""
    store = Store(tmp_path / "run")
    plain = {str(n): f"poor {n}" for n in range(5)}
    adaptive = {str(n): f"the good answer {n}" for n in range(5)}
    store.add(make_score(make_cell(), {**plain, "5": "same"}))
    store.add(make_score(make_cell("adakd"), {**adaptive, "5": "same "}))
    return store
