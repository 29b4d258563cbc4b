"""Sizes of models without their weights: counted where there is a structure, else named."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, LlamaConfig

from adakd.config import Pretrained, Pruned, Scratch
from adakd.errors import AdakdError
from adakd.models.sizes import parameters

LAYER, VOCABULARY, WIDTH = 4 * 8 * 8 + 3 * 8 * 16 + 2 * 8, 50, 8
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "tie_word_embeddings": True,
}
SCRATCH = Scratch(kind="scratch", vocabulary=VOCABULARY, config=CONFIG)
PRUNED = Pruned(kind="pruned", drop_layers=(1,))
REST = VOCABULARY * WIDTH + WIDTH


def pretrained(model: object, **options: Any) -> Pretrained:
    return Pretrained(kind="pretrained", model=str(model), **options)


def test_a_model_from_scratch_is_counted_and_so_is_its_pruned_copy() -> None:
    assert parameters(SCRATCH, SCRATCH) == 3 * LAYER + REST
    assert parameters(PRUNED, SCRATCH) == 2 * LAYER + REST


def test_a_layer_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(AdakdError, match="drop_layers"):
        parameters(Pruned(kind="pruned", drop_layers=(3,)), SCRATCH)


def test_a_model_in_a_folder_is_counted_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "model-7B"
    config = LlamaConfig(vocab_size=VOCABULARY, **CONFIG)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    assert parameters(pretrained(folder), pretrained(folder)) == 3 * LAYER + REST
    assert parameters(PRUNED, pretrained(folder)) == 2 * LAYER + REST


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Qwen/Qwen2-1.5B", 1.5e9),
        ("owner/open_llama_3b_v2", 3e9),
        ("owner-9B/small-135M-Instruct", 135e6),
        ("openai-community/gpt2-xl", None),
        ("owner/model-v2b", None),
        ("owner/7Best", None),
    ],
)
def test_on_the_hub_the_name_tells(name: str, size: float | None) -> None:
    assert parameters(pretrained(name), SCRATCH) == size
    assert parameters(PRUNED, pretrained(name)) == size


def test_a_gguf_file_tells_by_its_own_name(tmp_path: Path) -> None:
    base = pretrained(tmp_path, gguf_file="small-135M.Q4_1.gguf")
    assert parameters(base, base) == 135e6
