"""The cost of answers: continuous batching beside padded batches, which last as their longest."""

import random
import time
from typing import Any

import pytest
import torch
from measuring import FASTER, compare, note, row
from transformers import LlamaConfig, LlamaForCausalLM

from adakd.models.decoding import Ends, Request, continuously, in_batches
from adakd.policies import Decoding

ITEMS, SIZE, LONGEST = 200, 40, 64
SHAPE = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 4}
HEADS = {"num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 8192}


def requests() -> list[Request]:
    """Prompts of 30 to 160 tokens; lengths of answers as of a model that mostly ends early."""
    chance = random.Random(1)
    return [
        Request(
            [chance.randrange(2, HEADS["vocab_size"]) for _ in range(chance.randrange(30, 160))],
            min(LONGEST, 1 + int(chance.expovariate(1 / 24))),
            f"item {number}",
        )
        for number in range(ITEMS)
    ]


@pytest.mark.benchmark(group="Decoding", timer=time.process_time)
def test_continuous_batching(benchmark: Any) -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, **HEADS)).eval()
    asked, ends, greedy = requests(), Ends(0, 1), Decoding(temperature=0)

    def answers(engine: Any) -> list[list[int]]:
        found: list[list[int]] = engine(model, asked, greedy, ends, SIZE)
        return found

    ours, theirs = answers(continuously), answers(in_batches)
    assert sum(map(list.__eq__, ours, theirs)) >= 0.95 * ITEMS  # the rest: rounding at near ties
    found = compare(benchmark, lambda: answers(continuously), lambda: answers(in_batches), rounds=2)
    tokens = sum(map(len, ours))
    what = f"Greedy answers to {ITEMS} prompts, {tokens:,} tokens, {SIZE} at a time, float32"
    line = row(what, "padded batches", FASTER, found.times_faster, at_least=2.5)
    note(benchmark, line, ours=found.ours, reference=found.reference)
