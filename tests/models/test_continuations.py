"""Continuations that share their prompt's cache have the logits of whole sequences."""

import random
from typing import Any

import pytest
import torch

from adakd.config import Scratch
from adakd.models import loading
from adakd.models.continuations import Prompt, alike, shared_logits

LLAMA = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 40,
}  # fmt: skip
CONFIGS = [
    LLAMA,
    {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 24},
    {**LLAMA, "model_type": "gemma2", "head_dim": 8, "sliding_window": 6},
    {**LLAMA, "model_type": "mistral", "sliding_window": 6},
    {"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 2},
    {"model_type": "opt", "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2,
     "num_attention_heads": 2, "word_embed_proj_dim": 32, "max_position_embeddings": 24},
]  # fmt: skip


def make(config: dict[str, Any], tokenizer: Any) -> Any:
    model = loading.scratch_model(Scratch(kind="scratch", config=config), tokenizer, 1).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)  # so that attention is not even over the tokens
    return model


def prompts(sizes: list[tuple[int, list[int]]]) -> list[Prompt]:
    chance = random.Random(0)

    def ids(count: int) -> list[int]:
        return [chance.randrange(2, 300) for _ in range(count)]

    return [Prompt(ids(size), [ids(one) for one in rows]) for size, rows in sizes]


@torch.no_grad()
def whole(model: Any, asked: list[Prompt]) -> torch.Tensor:
    found = []
    for context, rows in asked:
        for row in rows:
            ids = torch.tensor([[*context, *row]])
            found.append(model(input_ids=ids, use_cache=False).logits[0, len(context) - 1 : -1])
    return torch.cat(found)


# the longest prompt has the shortest continuations: its padding is at positions beyond the model's
SIZES = [
    [(20, [1, 2, 4]), (3, [7, 1]), (12, [3, 3, 3, 5])],
    [(9, [1, 1]), (4, [1])],
    [(22, [2, 2]), (1, [12, 1])],
]


@pytest.mark.parametrize("sizes", SIZES, ids=["mixed", "one token", "far apart"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: str(config["model_type"]))
def test_shared_prompts_give_the_logits_of_whole_sequences(
    tokenizer: Any, config: dict[str, Any], sizes: list[tuple[int, list[int]]]
) -> None:
    model, asked = make(config, tokenizer), prompts(sizes)
    torch.testing.assert_close(
        shared_logits(model, asked), whole(model, asked), rtol=1e-4, atol=1e-4
    )


def test_each_prompt_is_read_once(tokenizer: Any) -> None:
    model, read = make(LLAMA, tokenizer), list[tuple[int, ...]]()
    model.get_input_embeddings().register_forward_hook(lambda _, ids, __: read.append(ids[0].shape))
    shared_logits(model, prompts([(20, [4, 4, 4, 3]), (18, [2, 4])]))
    assert read == [(2, 20), (6, 3)]


def test_a_model_without_a_cache_is_refused(tokenizer: Any) -> None:
    model = make(LLAMA, tokenizer)
    forward = model.forward

    def uncached(*arguments: Any, **options: Any) -> Any:
        found = forward(*arguments, **options)
        found.past_key_values = None
        return found

    model.forward = uncached
    with pytest.raises(TypeError, match="no key-value cache"):
        shared_logits(model, prompts([(5, [2, 2])]))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([5], [[5]]),
        ([30, 22, 20, 19, 12, 10, 9, 1], [[30, 22, 20], [19, 12], [10, 9], [1]]),
        ([9, 8, 4, 1], [[9, 8, 4, 1]]),
        ([90, 60, 59, 51], [[90, 60], [59, 51]]),
    ],
    ids=str,
)
def test_rows_of_about_one_length_are_read_together(sizes: list[int], expected: Any) -> None:
    assert [sizes[one] for one in alike(sizes)] == expected
