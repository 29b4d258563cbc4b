"""Models are scored on what they were trained on: the same tokens, ends and settings."""

import copy
import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast

from adakd.config import Data, Generated
from adakd.data import Row, prompt_of
from adakd.data.token_ids import prompt_ids, response_ids
from adakd.data.tokenized import encode
from adakd.errors import AdakdError
from adakd.evaluation.harness import Harness
from adakd.models import loading

TEXTS = ["What is one plus two?\nThink.", "Three, of course.\n\n", "Grüße, 世界", "Say it twice."]
ROWS = [
    Row("a", "What is one plus two?", "", ("Three, of course.",)),
    Row("b", "Say it", "twice, at length, and then once more.", ("It, it.",)),
    Row("c", "Grüße", "世界", (" 世界  ",)),
]
TURNS = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant] "
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
WRITES_BOS = "{{ bos_token }}" + TURNS
TEMPLATES = ("alpaca", "plain", "chat")


def make(
    special: list[str],
    bytes_: bool,
    opens: str = "",
    closes: str = "",
    chat: str = TURNS,
    **names: Any,
) -> Any:
    """Train a tokenizer of a family: byte-level or SentencePiece-like, with its special tokens."""
    inner = Tokenizer(models.BPE(byte_fallback=not bytes_))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if bytes_:
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
    else:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        inner.decoder = decoders.Sequence([decoders.Metaspace(), decoders.ByteFallback()])
        special, alphabet = [*special, *(f"<0x{byte:02X}>" for byte in range(256))], list("abc")
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(TEXTS, trainer)
    if opens or closes:
        ids = [(token, inner.token_to_id(token)) for token in {opens, closes} - {""}]
        inner.post_processor = processors.TemplateProcessing(
            single=f"{opens} $A {closes}".strip(), special_tokens=ids
        )
    made = PreTrainedTokenizerFast(tokenizer_object=inner, **names)
    made.chat_template = chat
    if made.pad_token_id is None:
        made.pad_token = made.eos_token
    return made


S, END = ["<s>", "</s>"], "<|endoftext|>"
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {
        "special": S,
        "bytes_": False,
        "opens": "<s>",
        "chat": WRITES_BOS,
        "bos_token": "<s>",
        "eos_token": "</s>",
    },
    "llama3": {
        "special": S,
        "bytes_": True,
        "opens": "<s>",
        "chat": WRITES_BOS,
        "bos_token": "<s>",
        "eos_token": "</s>",
    },
    "qwen": {
        "special": [END, "<|im_end|>", "<|im_start|>"],
        "bytes_": True,
        "chat": CHATML,
        "eos_token": "<|im_end|>",
        "pad_token": END,
    },
    "gpt2": {"special": [END], "bytes_": True, "bos_token": END, "eos_token": END},
    "gemma": {
        "special": ["<pad>", "<eos>", "<bos>"],
        "bytes_": False,
        "opens": "<bos>",
        "chat": WRITES_BOS,
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
    },
    "opt": {
        "special": ["<pad>", "</s>"],
        "bytes_": True,
        "opens": "</s>",
        "bos_token": "</s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    },
    "mistral": {
        "special": S,
        "bytes_": False,
        "opens": "<s>",
        "chat": "{{ bos_token }}[INST] {{ messages[0]['content'] }} [/INST]",
        "bos_token": "<s>",
        "eos_token": "</s>",
    },
    "phi": {"special": [END], "bytes_": True, "bos_token": END, "eos_token": END},
    "appends its end": {
        "special": S,
        "bytes_": True,
        "opens": "<s>",
        "closes": "</s>",
        "chat": WRITES_BOS,
        "bos_token": "<s>",
        "eos_token": "</s>",
    },
    "appends its end alone": {
        "special": S,
        "bytes_": False,
        "closes": "</s>",
        "bos_token": "<s>",
        "eos_token": "</s>",
    },
}


def reader(bench: Any, tokenizer: Any) -> Harness:
    """A harness that reads with another tokenizer."""
    harness: Harness = bench({"data.max_tokens": 96}).harness
    harness.tokenizer = tokenizer
    return harness


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_are_the_same_tokens_in_training_and_evaluation(bench, family: str) -> None:
    tokenizer = make(**FAMILIES[family])
    harness = reader(bench, tokenizer)
    opens, end = FAMILIES[family].get("opens"), tokenizer.eos_token_id
    for template in TEMPLATES:
        data = Data.model_validate(
            {
                "train": Generated(kind="generated", rows=1),
                "template": template,
                "max_prompt_tokens": 2000,
                "max_tokens": 4000,
            }
        )
        texts = [prompt_of(row.instruction, row.input, template, tokenizer) for row in ROWS]
        ended = replace(ROWS[1], references=(ROWS[1].references[0] + tokenizer.eos_token,))
        examples = encode([ROWS[0], ended, ROWS[2]], tokenizer, data).examples
        inputs, mask = harness.tok_batch_encode(texts)
        for row, text, example, ids, seen in zip(ROWS, texts, examples, inputs, mask, strict=True):
            assert harness.tok_encode(text) == ids[seen.bool()].tolist() == example.prompt
            starts = bool(opens) or (template == "chat" and "bos_token" in tokenizer.chat_template)
            first = tokenizer.bos_token_id
            assert [token == first for token in example.prompt[:2]] == [starts, False]
            response = example.input_ids[len(example.prompt) :]
            assert response[-1] == end
            assert end not in response[:-1]
            context, option = harness._encode_pair(text, row.references[0])
            assert [*context, *option, end] == example.input_ids


def test_a_prompt_does_not_end_as_a_response_does() -> None:
    tokenizer = make(**FAMILIES["appends its end"])
    (ids,) = prompt_ids(["Say it twice."], tokenizer)
    assert tokenizer.convert_ids_to_tokens(ids)[0] == "<s>"
    assert tokenizer.eos_token_id not in ids
    assert response_ids(["</s></s>"], tokenizer) == [[]]
    assert prompt_ids([], tokenizer) == response_ids([], tokenizer) == []


def test_a_long_prompt_loses_its_beginning(bench) -> None:
    harness = bench().harness
    whole = harness.tok_encode("cat dog owl pig")
    ids, mask = harness.tok_batch_encode(["cat dog owl pig", "cat"], left_truncate_len=3)
    assert ids[0].tolist() == whole[-3:]
    assert mask[0].tolist() == [1, 1, 1]


def test_no_chat_template_is_told(make_suite, tokenizer: Any) -> None:
    with pytest.raises(AdakdError, match=r"data\.template: chat, but .* has no chat template"):
        prompt_of("Say it", "", "chat", tokenizer)
    broken = make(**FAMILIES["gpt2"])
    broken.chat_template = "{{ raise_exception('no roles') }}"
    with pytest.raises(AdakdError, match=r"data\.template: .*chat template fails: .*no roles"):
        prompt_of("Say it", "", "chat", broken)


# --- generation settings ----------------------------------------------------------------------

HABITS: list[dict[str, Any]] = [
    {"repetition_penalty": 1.9},
    {"no_repeat_ngram_size": 1},
    {"suppress_tokens": [*range(10, 200)]},
    {"begin_suppress_tokens": [*range(10, 200)]},
    {"bad_words_ids": [[token] for token in range(10, 200)]},
    {"min_new_tokens": 6},
    {"min_length": 60},
    {"num_beams": 3},
    {"eos_token_id": [*range(2, 300)]},
    {"forced_eos_token_id": 1, "max_length": 20},
    {"do_sample": True, "temperature": 3.0, "top_k": 3, "top_p": 0.5, "typical_p": 0.3},
    {"renormalize_logits": True, "sequence_bias": [[[20], 9.0]]},
    {"encoder_repetition_penalty": 2.0, "guidance_scale": 2.0},
]


def habit_id(habits: dict[str, Any]) -> str:
    return next(iter(habits))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("habits", HABITS, ids=habit_id)
def test_settings_of_a_models_folder_change_no_answer(bench, habits, tied: bool) -> None:
    """Of a student that repeats one token, and of one that writes others each time."""
    made = bench({"student.config.tie_word_embeddings": tied})
    expected = [item.answer for item in made.score("puzzles").items]
    model = made.model
    model.generation_config = GenerationConfig(**habits)
    made.harness = Harness(model, made.context.tokenizer, made.suite)
    assert [item.answer for item in made.score("puzzles").items] == expected


@pytest.mark.parametrize("lora", [False, True])
def test_a_saved_student_stops_where_it_was_trained_to(tokenizer: Any, tmp_path, lora) -> None:
    base = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2}  # fmt: skip
    model: Any = loading.scratch_model(
        loading.Scratch(kind="scratch", config=base), tokenizer, seed=1
    )
    model.config.eos_token_id = [7, 8]
    model.generation_config = GenerationConfig(eos_token_id=[7, 8], repetition_penalty=1.3)
    if lora:
        model = loading.with_adapters(model, loading.Lora(r=2), seed=1).merge_and_unload()
    loading.save(model, tokenizer, tmp_path / "model")
    again, its = loading.load_model(tmp_path / "model"), loading.load_tokenizer(tmp_path / "model")
    ends = again.config.eos_token_id, again.generation_config.eos_token_id, its.eos_token_id
    assert set(ends) == {tokenizer.eos_token_id}
    pads = again.config.pad_token_id, again.generation_config.pad_token_id, its.pad_token_id
    assert set(pads) == {tokenizer.pad_token_id}
    assert again.generation_config.repetition_penalty in (None, 1.0)
    with torch.no_grad():
        again.lm_head.weight.zero_()
        again.lm_head.weight[tokenizer.eos_token_id] += 1
        again.model.norm.weight.abs_()
    written = again.generate(torch.tensor([[20, 21]]), max_new_tokens=5, do_sample=False)
    assert len(written[0]) <= 7


def test_saved_adapters_say_where_they_were_trained_to_stop(tokenizer: Any, tmp_path) -> None:
    """Whoever loads them outside of adakd gets the settings of their base otherwise."""
    base = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2}  # fmt: skip
    model: Any = loading.scratch_model(
        loading.Scratch(kind="scratch", config=base), tokenizer, seed=1
    )
    model.generation_config = GenerationConfig(eos_token_id=[7, 8], repetition_penalty=1.3)
    loading.save(loading.with_adapters(model, loading.Lora(r=2), seed=1), tokenizer, tmp_path / "m")
    assert (tmp_path / "m/adapter_config.json").exists()
    saved = GenerationConfig.from_pretrained(tmp_path / "m")
    assert saved.eos_token_id == tokenizer.eos_token_id
    assert saved.pad_token_id == tokenizer.pad_token_id
    assert saved.repetition_penalty in (None, 1.0)


def test_a_tokenizer_without_an_end_token_is_told(tokenizer: Any, tmp_path) -> None:
    endless = copy.deepcopy(tokenizer)
    endless.eos_token = None
    endless.save_pretrained(tmp_path)
    with pytest.raises(AdakdError, match=r"has no end token.*tokenizer_config\.json"):
        loading.load_tokenizer(tmp_path)


def test_every_family_is_tried_with_every_template() -> None:
    assert len([*itertools.product(FAMILIES, TEMPLATES)]) == 30
