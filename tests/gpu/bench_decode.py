"""Decoding on a device: transformers' generate in batches, as here, beside its continuous batching.

    python tests/gpu/bench_decode.py OUT.json [--seconds N] [--prompts IDS.json]
                                     [--device cpu --tiny]

A model of SmolLM2-135M's shape with random weights in bfloat16 answers 500 prompts of mixed length
greedily. No token ends an answer: each has a length drawn beforehand, up to a limit, or all have
the limit: 96 tokens, so that a row takes some 8 seconds where a step takes 75 ms, and 256 where
time is left. A batch goes on until its longest answer is complete; continuous batching replaces an
answer that is complete by the next prompt.
"""

import json
import random
import time
from pathlib import Path
from typing import Any

from bench_step import SHAPES, TINY, Shape, model
from device_timing import Device, Results, arguments, table

PROMPTS, NEW_TOKENS = 500, (96, 256)
BATCHES = {512: 500, 128: 128, 32: 32}
"""Prompts that are decoded at each batch size: one batch, which is enough for a rate."""


class Work:
    """Prompts and the lengths of their answers."""

    def __init__(self, options: Any, vocabulary: int) -> None:
        chance = random.Random(0)
        self.count, self.limits = (6, (4, 6)) if options.tiny else (PROMPTS, NEW_TOKENS)
        if options.prompts is not None:
            given = json.loads(options.prompts.read_text())
            self.prompts = [given[number % len(given)] for number in range(self.count)]
        else:  # most are short, some have hundreds of tokens
            lengths = [
                min(512, int(chance.lognormvariate(4.3, 0.7)) + 8) for _ in range(self.count)
            ]
            if options.tiny:
                lengths = [1 + length % 8 for length in lengths]
            self.prompts = [[chance.randrange(vocabulary) for _ in range(n)] for n in lengths]
        drawn = [chance.expovariate(3) for _ in self.prompts]
        self.lengths = {
            (kind, limit): [
                min(limit, int(share * limit) + 1) if kind == "mixed" else limit for share in drawn
            ]
            for kind in ("mixed", "all alike")
            for limit in self.limits
        }


def in_batches(
    language_model: Any, prompts: list[list[int]], limits: list[int], size: int
) -> tuple[int, int]:
    """Decode as the evaluation does, longest prompts first; return tokens asked for and decoded."""
    import torch
    from transformers import StoppingCriteriaList

    from adakd.models.decoding import _config, _LengthLimits, generation_mode

    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    decoded = 0
    with generation_mode(language_model) as base, torch.no_grad():
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            batch, most = [prompts[row] for row in rows], [limits[row] for row in rows]
            longest = max(map(len, batch))
            padded = [[0] * (longest - len(prompt)) + prompt for prompt in batch]
            lengths = torch.tensor([[len(prompt)] for prompt in batch])
            mask = (torch.arange(longest) >= longest - lengths).long()
            device = language_model.device
            found = base.generate(
                torch.tensor(padded, device=device),
                attention_mask=mask.to(device),
                generation_config=_config(
                    max_new_tokens=max(most), pad_token_id=0, do_sample=False, use_cache=True
                ),
                stopping_criteria=StoppingCriteriaList([_LengthLimits(most, longest)]),
            )
            decoded += found[:, longest:].numel()
    return sum(limits), decoded


def continuously(
    language_model: Any,
    prompts: list[list[int]],
    limits: list[int],
    size: int,
    attention: str,
    seconds: float,
    graphs: bool | None,
) -> tuple[float, int, int]:
    """Decode by continuous batching, for so many seconds at most after the warm-up.

    Returns the seconds, and the tokens and the number of the complete answers.
    """
    from transformers import ContinuousBatchingConfig, GenerationConfig

    before = language_model.config._attn_implementation
    language_model.set_attn_implementation(attention)
    try:
        room = {"max_memory_percent": 0.5}
        if language_model.device.type == "cpu":
            room = {"num_blocks": 16, "block_size": 32, "max_batch_tokens": 64}
        settings = ContinuousBatchingConfig(
            max_requests_per_batch=size, use_cuda_graph=graphs, **room
        )
        config = GenerationConfig(
            max_new_tokens=max(limits), do_sample=False, eos_token_id=-1, pad_token_id=0
        )
        with language_model.continuous_batching_context_manager(
            generation_config=config,
            continuous_batching_config=settings,
            block=True,
            timeout=5,
            warmup=True,
        ) as manager:
            start, tokens, missing = time.perf_counter(), 0, len(prompts)
            for prompt, limit in zip(prompts, limits, strict=True):
                manager.add_request(input_ids=prompt, max_new_tokens=limit)
            while missing:
                result = manager.get_result(timeout=1)
                if result is not None and result.is_finished():
                    if result.error is not None:
                        raise RuntimeError(result.error)
                    missing -= 1
                    tokens += len(result.generated_tokens)
                elif result is None and not manager.is_running():
                    raise RuntimeError("the thread of continuous batching has ended")
                if time.perf_counter() - start > seconds:
                    break  # the rate so far is still worth having
            spent = time.perf_counter() - start
    finally:
        language_model.set_attn_implementation(before)
    if missing == len(prompts):
        raise RuntimeError(f"no answer after {seconds:.0f} s")
    return spent, tokens, len(prompts) - missing


def main() -> None:
    import torch

    options = arguments(
        __doc__,
        seconds=75,
        more={"--prompts": {"type": Path, "help": "a JSON list of prompts as token ids"}},
    )
    device = Device(options.device)
    results = Results(options.out, device, options.seconds)
    shape: Shape = TINY[1] if options.tiny else SHAPES[1]
    language_model = model(shape, {}, options.device, torch.bfloat16).eval()
    work = Work(options, shape.config["vocab_size"])
    results.head["prompt_tokens"] = sum(map(len, work.prompts))
    results.head["new_tokens"] = {
        f"{kind}, up to {limit}": sum(many) for (kind, limit), many in work.lengths.items()
    }
    batches = {4: 6, 3: 6, 2: 4} if options.tiny else BATCHES
    in_batches(language_model, work.prompts[:2], [2, 2], 2)  # loads what the first call loads

    def batched(kind: str, most: int, size: int) -> dict[str, Any]:
        count = batches[size]
        limits = work.lengths[kind, most][:count]
        found: list[tuple[int, int]] = []
        spent = device.elapsed(
            lambda: found.append(in_batches(language_model, work.prompts[:count], limits, size))
        )
        ((asked, decoded),) = found
        return {
            "tokens_per_second": asked / spent,
            "seconds": spent,
            "wasted": 1 - asked / decoded,
            "answers": count,
        }

    def continuous(
        kind: str, most: int, size: int, attention: str, graphs: bool | None
    ) -> dict[str, Any]:
        limit = min(8.0 * most / work.limits[0], results.left)
        limits = work.lengths[kind, most]
        spent, tokens, answers = continuously(
            language_model, work.prompts, limits, size, attention, limit, graphs
        )
        return {"tokens_per_second": tokens / spent, "seconds": spent, "answers": answers}

    large, middle, small = batches
    few, many = work.limits
    rows: list[tuple[str, int, int, str, bool | None]] = [
        ("mixed", few, large, "batches", None),
        ("mixed", few, large, "sdpa", True),
        ("mixed", few, large, "sdpa", None),
        ("mixed", few, middle, "batches", None),
        ("mixed", few, middle, "sdpa", True),
        ("all alike", few, large, "batches", None),
        ("all alike", few, large, "sdpa", True),
        ("mixed", few, small, "batches", None),
        ("mixed", many, large, "batches", None),
        ("mixed", many, large, "sdpa", True),
        ("mixed", few, large, "paged|eager", None),
    ]
    for kind, most, size, way, graphs in rows:
        what = {"lengths": kind, "up_to": most, "at_once": size, "way": way, "cuda_graphs": graphs}
        needs = 8.0 * most / few
        if way == "batches":
            results.add(lambda k=kind, m=most, s=size: batched(k, m, s), needs, **what)
        else:
            results.add(
                lambda k=kind, m=most, s=size, w=way, g=graphs: continuous(k, m, s, w, g),
                needs,
                **what,
            )
    table(results.rows, "way", ("tokens_per_second", "seconds"))


if __name__ == "__main__":
    main()
