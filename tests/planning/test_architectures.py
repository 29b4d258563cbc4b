"""Sizes of models without torch: those that transformers counts, or those of their names."""

from pathlib import Path
from typing import Any

import pytest

from adakd.config import Pretrained, Pruned, Scratch
from adakd.models.sizes import parameters
from adakd.planning.architectures import architecture, named

LLAMA = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
CONFIGS = {
    "llama": LLAMA,
    "tied": {**LLAMA, "tie_word_embeddings": True},
    "head_dim": {**LLAMA, "head_dim": 16},
    "qwen2": {**LLAMA, "model_type": "qwen2", "tie_word_embeddings": True},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64},
}


def scratch(config: dict[str, Any]) -> Scratch:
    return Scratch(kind="scratch", config=config, vocabulary=300)


def pretrained(model: str) -> Pretrained:
    return Pretrained(kind="pretrained", model=model)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_from_scratch_has_the_parameters_that_transformers_counts(name: str) -> None:
    base = scratch(CONFIGS[name])
    found = architecture(base, base)
    assert found is not None
    assert found.parameters == pytest.approx(parameters(base, base), rel=0.01)
    assert (found.width, found.layers) == (32, 3)


def test_a_pruned_model_lacks_its_layers() -> None:
    base, student = scratch(LLAMA), Pruned(kind="pruned", drop_layers=(0, 2))
    found = architecture(student, base)
    assert found is not None
    assert found.parameters == pytest.approx(parameters(student, base), rel=0.01)
    assert found.layers == 1


def test_a_folder_is_counted_by_its_files(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**LLAMA, vocab_size=77))
    model.save_pretrained(tmp_path)
    base = pretrained(str(tmp_path))
    found = architecture(base, base)
    assert found is not None
    assert (found.parameters, found.width, found.is_exact) == (model.num_parameters(), 32, True)


def test_a_configuration_that_leaves_the_width_to_a_default_is_not_guessed() -> None:
    base = scratch({"model_type": "llama"})
    assert architecture(base, base) is None


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("Qwen/Qwen2-1.5B", 1_500_000_000),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 135_000_000),
        ("openai-community/gpt2-xl", 1_558_000_000),
        ("owner/model", None),
        ("owner/v2.5b3", None),
    ],
)
def test_the_size_in_a_name(model: str, size: int | None) -> None:
    assert named(model) == size
    base = pretrained(model)
    found = architecture(base, base)
    assert (found and found.parameters) == size
    assert found is None or not found.is_exact


def test_adapters_of_all_matrices_are_more_than_those_of_two() -> None:
    base = scratch(LLAMA)
    found = architecture(base, base)
    assert found is not None
    assert found.adapters(8, 2) == 3 * 8 * 2 * 2 * 32
    assert found.adapters(8, None) > found.adapters(8, 4)
