"""Throughput of a chat judge: 10,000 pairs in both orders, with a server of 50 ms latency."""

import asyncio
import json
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import psutil
import pytest
from measuring import note, row

from adakd.judging import ItemText, Subject, load_panel
from adakd.judging.runner import judge_answers
from adakd.planning import Cell
from adakd.store import Store
from adakd.store.records import Item, ScoreRecord

PAIRS, LATENCY, CONCURRENCY = 10_000, 0.05, 64
IDEAL = 2 * PAIRS * LATENCY / CONCURRENCY
_MESSAGE = {"role": "assistant", "content": "Both are right; the first says more. [[A]]"}
_BODY = json.dumps(
    {
        "choices": [{"index": 0, "finish_reason": "stop", "message": _MESSAGE}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 12, "total_tokens": 312},
    }
).encode()
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)


class Slow(asyncio.Protocol):
    """Answers every request after the latency, whatever its content."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.waiting = transport, b""

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        head, end, body = self.waiting.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().split(b"content-length: ")[1].split()[0]):
            self.waiting = b""
            asyncio.get_running_loop().call_later(LATENCY, self.transport.write, _REPLY)


def serve(connection: Connection) -> None:
    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Slow, "127.0.0.1", 0)
        connection.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


@pytest.fixture
def port() -> Iterator[int]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    yield ours.recv()
    process.kill()
    process.join()


@pytest.fixture
def subject() -> Subject:
    """Return answers to 10,000 items."""
    ids = [str(number) for number in range(PAIRS)]
    scores = tuple(
        ScoreRecord(
            key=arm,
            cell=Cell(role="distilled", seed=1, divergence="reverse_kl", arm=arm, key=arm),
            task="set",
            sort="answers",
            metric="rouge_l",
            title="ROUGE-L",
            scale=100,
            answers=arm,
            sampling_seed=10,
            value=0.0,
            n=PAIRS,
            seconds=0.0,
            items=tuple(Item(id=i, value=0.0, answer=f"{arm} answer {i} " * 20) for i in ids),
        )
        for arm in ("plain", "adakd")
    )
    texts = {i: ItemText(f"Instruction {i}. " * 10, "", (f"Reference {i}. " * 10,)) for i in ids}
    return Subject(scores, {"set": texts})


@pytest.mark.benchmark(group="Query a judge")
def test_a_chat_judge(benchmark: Callable, port: int, subject: Subject, tmp_path: Path) -> None:
    file = tmp_path / "stub.yaml"
    file.write_text(
        f"kind: openai\nbase_url: http://127.0.0.1:{port}/v1\nmodel: m\nmode: text\n"
        f"concurrency: {CONCURRENCY}\nvetting: {{items: 0}}\n"
    )
    process, memory, times = psutil.Process(), [], []

    def watch(done: int, total: int) -> None:
        if done % 1000 == 0:
            memory.append(process.memory_info().rss)
            times.append(perf_counter())

    panel, store = load_panel([str(file)]), Store(tmp_path)
    judged = benchmark.pedantic(
        lambda: judge_answers(store, panel, subject, on_progress=watch), rounds=1
    )
    assert judged.asked == 2 * PAIRS
    assert judged.summaries[0].outcomes == {"flip": PAIRS}
    calls = (times[-1] - times[1]) / (1 - 1000 / (2 * PAIRS))
    what = (
        f"{2 * PAIRS:,} questions to a chat judge of {1000 * LATENCY:.0f} ms, {CONCURRENCY} at once"
    )
    note(
        benchmark,
        row(f"{what}: calls", "no time but the judge's own", "times the ideal", calls / IDEAL),
        row(
            f"{what}: in total",
            "no time but the judge's own",
            "times the ideal",
            judged.seconds / IDEAL,
        ),
        mib_grown=(memory[-1] - memory[1]) / 2**20,
    )
