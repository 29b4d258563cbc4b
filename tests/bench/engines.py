"""Measures the engines of `evaluation.engine` on a model of the user's, greedily.

``python tests/bench/engines.py MODEL ROWS --start COMMAND`` answers the instructions of a JSON
Lines file with padded batches, by continuous batching and, where a command is given as in
``evaluation.engine.start``, by a server. It prints a Markdown table: tokens a second, the server's
start apart, and how many answers are those of padded batches. As in real answers, most limits are
short: of 64 tokens at most, 20 on average.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1"}

from transformers import AutoTokenizer

from adakd.config.scoring import Server
from adakd.evaluation.serving import answers_of
from adakd.models.decoding import DECODERS, Decoder, Ends, Request
from adakd.models.loading import DTYPES, load_model
from adakd.policies import Decoding

LONGEST, MEAN = 64, 24
"""Tokens of an answer: a limit drawn from an exponential distribution, and cut."""
PROMPT = 448
"""Tokens of a prompt at most."""


def requests(rows: Path, count: int, tokenizer: Any) -> list[Request]:
    """Return the first instructions of a file as requests, with limits of many lengths."""
    chance = random.Random(1)
    asked = []
    with rows.open(encoding="utf-8") as lines:
        for number, line in zip(range(count), lines, strict=False):
            row = json.loads(line)
            text = "\n\n".join(filter(None, (row["instruction"], row.get("input"))))
            turns = [{"role": "user", "content": text}]
            prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
            limit = min(LONGEST, 1 + int(chance.expovariate(1 / MEAN)))
            asked.append(Request(prompt[:PROMPT], limit, f"item {number}"))
    return asked


@contextmanager
def decoders(tokenizer: Any, start: str) -> Iterator[dict[str, Decoder]]:
    """Yield the engines by name; a server ends with the block."""
    own: dict[str, Decoder] = {name: DECODERS[name] for name in ("batches", "continuous")}
    if not start:
        yield own
        return
    server = Server(kind="server", start=start)
    with (
        tempfile.TemporaryDirectory() as folder,
        answers_of(server, tokenizer, Path(folder) / "served") as served,
    ):
        yield {**own, "server": served}


def table(
    model: Any, asked: Sequence[Request], size: int, ends: Ends, engines: dict[str, Decoder]
) -> Iterator[str]:
    """Yield the lines of a table, a line an engine, as they are measured."""

    def timed(decode: Decoder, some: Sequence[Request]) -> tuple[float, list[list[int]]]:
        start = time.perf_counter()
        found = decode(model, some, Decoding(temperature=0), ends, size)
        return time.perf_counter() - start, found

    first = list[list[int]]()
    yield "| engine | first answer | all | tokens a second | equal to padded batches |"
    yield "|---|---|---|---|---|"
    for name, decode in engines.items():
        warm, _ = timed(decode, asked[:1])
        seconds, found = timed(decode, asked)
        first = first or found
        tokens, equal = sum(map(len, found)), sum(map(list.__eq__, first, found))
        times = f"{warm:.0f} s | {seconds:.1f} s | {tokens / seconds:.0f}"
        yield f"| {name} | {times} | {equal} of {len(asked)} |"


def main() -> None:
    """Measure the engines that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--start", default="")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--size", type=int, default=40)
    parser.add_argument("--precision", choices=sorted(DTYPES), default="float32")
    asked = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    model: Any = load_model(asked.model)
    model.to(DTYPES[asked.precision]).eval()
    ends = Ends(tokenizer.eos_token_id, tokenizer.pad_token_id)
    items = requests(asked.rows, asked.items, tokenizer)
    print(f"{len(items)} prompts of {sum(len(one.prompt) for one in items):,} tokens\n")
    with decoders(tokenizer, asked.start) as engines:
        for line in table(model, items, asked.size, ends, engines):
            print(line, flush=True)


if __name__ == "__main__":
    main()
