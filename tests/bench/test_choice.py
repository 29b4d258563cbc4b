"""What the options of multiple-choice questions cost, beside whole sequences in batches."""

import random
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from measuring import FASTER, compare, note, one_thread, row
from transformers import LlamaConfig, LlamaForCausalLM

from adakd.evaluation.shared_prompts import batches_alone, batches_of_prompts, groups
from adakd.models.continuations import Prompt, shared_logits

QUESTIONS = [
    (168, (26, 34, 34, 4)), (244, (52, 31, 35, 32)), (45, (32, 24, 30, 12)), (40, (42, 26, 36, 27)),
    (40, (36, 11, 48, 24)), (36, (39, 16, 39, 31)), (36, (76, 34, 7, 33)), (41, (18, 34, 20, 33)),
    (44, (8, 40, 20, 11)), (42, (36, 37, 35, 36)), (70, (36, 31, 36, 26)), (35, (37, 43, 35, 30)),
    (42, (11, 2, 48, 36)), (45, (42, 16, 24, 35)), (37, (40, 17, 41, 35)), (39, (42, 4, 24, 9)),
    (51, (43, 9, 2, 42)), (37, (41, 26, 16, 39)), (255, (34, 37, 18, 31)), (131, (53, 36, 12, 42)),
    (52, (46, 26, 11, 114)), (42, (48, 114, 20, 32)), (132, (31, 12, 76, 27)),
    (191, (41, 32, 35, 56)), (37, (38, 41, 37, 35)), (43, (8, 34, 35, 40)), (37, (37, 52, 16, 42)),
    (36, (39, 5, 30, 42)), (35, (39, 37, 37, 39)), (44, (33, 20, 46, 9)),
]  # fmt: skip
"""Tokens of prompt and options of the questions of ``dolly-choice`` in ``smollm2-dolly``."""
SIZE, LIMIT, TOKENS = 40, 256, 3_250
"""Requests in a batch. Tokens of a sequence, which is cut at its start. Vocabulary entries: as
large a share of the work as 49,152 in 30 layers."""


@pytest.fixture(scope="module")
def model() -> Any:
    """Two layers of the shape of SmolLM2-135M."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=TOKENS, hidden_size=576, intermediate_size=1536, num_hidden_layers=2,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=512,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def pairs() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    chance = random.Random(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(chance.choices(range(TOKENS), k=count))

    questions = [(ids(size), [ids(one) for one in options]) for size, options in QUESTIONS]
    return [(prompt, option) for prompt, options in questions for option in options]


@torch.inference_mode()
def shared(model: Any, asked: Any) -> list[float]:
    prompts, alone = groups(asked, LIMIT)
    found = whole(model, asked, batches_alone(alone, asked, SIZE))
    for batch in batches_of_prompts(prompts, asked, SIZE):
        by_prompt: dict[Any, list[Any]] = {}
        for number in batch:
            by_prompt.setdefault(asked[number][0], []).append(asked[number][1])
        logits = shared_logits(model, [Prompt(*one) for one in by_prompt.items()])
        parts = logits.log_softmax(-1).split([len(asked[number][1]) for number in batch])
        for number, part in zip(batch, parts, strict=True):
            found[number] = likelihood(part, asked[number][1])
    return [found[number] for number in range(len(asked))]


def in_order(asked: Any) -> Iterator[list[int]]:
    """Yield batches as lm-eval does: those with the most tokens first."""
    order = sorted(range(len(asked)), key=lambda n: -sum(map(len, asked[n])))
    yield from (order[start : start + SIZE] for start in range(0, len(order), SIZE))


@torch.inference_mode()
def whole(model: Any, asked: Any, batches: Iterable[list[int]]) -> dict[int, float]:
    found: dict[int, float] = {}
    for batch in batches:
        rows = [(*asked[number][0], *asked[number][1])[-LIMIT - 1 : -1] for number in batch]
        inputs = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        for place, one in enumerate(rows):
            inputs[place, : len(one)] = torch.tensor(one)
        states = model.model(input_ids=inputs, use_cache=False).last_hidden_state
        for place, number in enumerate(batch):
            option, end = asked[number][1], len(rows[place])
            kept = states[place, end - len(option) : end]
            found[number] = likelihood(model.lm_head(kept).log_softmax(-1), option)
    return found


def likelihood(log_probabilities: torch.Tensor, option: tuple[int, ...]) -> float:
    return float(log_probabilities.gather(-1, torch.tensor(option)[:, None]).sum())


@pytest.mark.benchmark(group="choice", timer=time.process_time)
def test_choice(benchmark: Any, model: Any) -> None:
    asked = pairs()
    with one_thread():
        expected = whole(model, asked, in_order(asked))
        assert shared(model, asked) == pytest.approx(
            [expected[number] for number in range(len(asked))], rel=1e-5
        )
        found = compare(
            benchmark,
            lambda: shared(model, asked),
            lambda: whole(model, asked, in_order(asked)),
            rounds=2,
        )
    what = f"likelihoods of the options of {len(QUESTIONS)} questions on Dolly, 135M shape"
    line = row(
        what, "each option with its prompt, in batches", FASTER, found.times_faster, at_least=2
    )
    note(benchmark, line, ours=found.ours, reference=found.reference)
