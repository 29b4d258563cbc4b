"""Two engines, one answer: padded batches and continuous batching."""

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    Qwen2Config,
)

from adakd.config import Lora
from adakd.errors import AdakdError
from adakd.models import decoding as decoding_module
from adakd.models.decoding import Ends, Request, continuously, in_batches
from adakd.models.loading import with_adapters
from adakd.policies import Decoding

END, PAD, VOCABULARY = 0, 1, 40
ENDS = Ends(END, PAD)
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 96,
    "initializer_range": 0.5,
    "pad_token_id": PAD,
    "bos_token_id": None,
    "eos_token_id": END,
}
FAMILIES: dict[str, Any] = {
    "llama": LlamaConfig(**SHAPE, num_key_value_heads=1),
    "llama, tied": LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**SHAPE, num_key_value_heads=2),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=96, initializer_range=0.5
    ),
    "opt": OPTConfig(**(SHAPE | {"ffn_dim": 32, "word_embed_proj_dim": 16})),
    "gemma3": Gemma3TextConfig(
        **SHAPE,
        head_dim=8,
        num_key_value_heads=1,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "mistral": MistralConfig(**SHAPE, num_key_value_heads=1, sliding_window=None),
    "mistral, window": MistralConfig(**SHAPE, num_key_value_heads=1, sliding_window=8),
    "phi3": Phi3Config(**SHAPE, num_key_value_heads=2),
    "neox": GPTNeoXConfig(**SHAPE),
}
DECODINGS = [
    Decoding(temperature=0),
    Decoding(),
    Decoding(temperature=0.7, top_k=9),
    Decoding(top_p=0.8),
]


def a_model(family: str) -> Any:
    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(FAMILIES[family]).eval()


def requests(count: int = 9) -> list[Request]:
    return [
        Request(
            [2 + (5 * number + 7 * place) % 38 for place in range(1 + (11 * number) % 40)],
            1 + (7 * number) % 30,
            f"item {number}",
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_both_engines_give_the_same_answers(family: str) -> None:
    model, asked = a_model(family), requests()
    for decoding in DECODINGS[:2]:
        expected = in_batches(model, asked, decoding, ENDS, 5)
        assert continuously(model, asked, decoding, ENDS, 4) == expected


@pytest.mark.parametrize("decoding", DECODINGS, ids=str)
def test_an_answer_does_not_depend_on_the_others(decoding: Decoding) -> None:
    model, asked = a_model("llama"), requests()
    alone = [in_batches(model, [one], decoding, ENDS, 1)[0] for one in asked]
    for size in (1, 3, 40):
        assert continuously(model, asked, decoding, ENDS, size) == alone
        assert in_batches(model, asked, decoding, ENDS, size) == alone
    few = asked[::-1][:6]
    assert continuously(model, few, decoding, ENDS, 4) == alone[::-1][:6]
    assert any(answer[-1] != END for answer in alone)
    assert any(answer[-1] == END for answer in alone)
    for one, answer in zip(asked, alone, strict=True):
        assert 1 <= len(answer) <= one.limit
        assert END not in answer[:-1]


def test_streams_decide_what_is_drawn() -> None:
    model, asked = a_model("llama"), requests()
    other = [Request(one.prompt, one.limit, one.stream + "'") for one in asked]
    for engine in (in_batches, continuously):
        assert engine(model, asked, Decoding(), ENDS, 4) != engine(
            model, other, Decoding(), ENDS, 4
        )


@pytest.mark.parametrize("engine", [in_batches, continuously])
def test_nothing_else_is_disturbed(engine: Any) -> None:
    model = a_model("llama").train()
    model.generation_config.repetition_penalty = 9.0
    wrapped = with_adapters(model, Lora(r=2, dropout=0.5), 1).train()
    torch.manual_seed(3)
    before, state = torch.get_rng_state(), torch.rand(3)
    torch.manual_seed(3)
    done: list[int] = []
    engine(wrapped, requests(), Decoding(), ENDS, 4, done.append)
    assert sum(done) == 9
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.rand(3), state)
    assert all(module.training for module in wrapped.modules())
    assert model.generation_config.repetition_penalty == 9.0
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "config",
    [
        MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, state_size=4),
        BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=1, n_head=2),
        FalconConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            alibi=True,
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_a_model_that_cannot_is_told(config: Any) -> None:
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(AdakdError, match=r"evaluation\.engine: .* set evaluation\.engine: batches"):
        continuously(model, requests(4), DECODINGS[0], ENDS, 4)


def test_a_model_that_answers_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_model("llama")
    monkeypatch.setattr(decoding_module, "_checked", set())
    monkeypatch.setattr(
        decoding_module, "_continuous", lambda base, few, *_: [[2 + len(one.prompt)] for one in few]
    )
    with pytest.raises(AdakdError, match=r"[34] of 4 answers differ.*evaluation\.engine: batches"):
        continuously(model, requests(8), DECODINGS[0], ENDS, 4)
