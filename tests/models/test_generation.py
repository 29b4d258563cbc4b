"""What models write: their own distribution, ended where it ends, and nothing else disturbed."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from adakd.config import Lora
from adakd.data.example import IGNORED, Example
from adakd.models.decoding import DECODERS, Ends
from adakd.models.generation import ResponseGenerator
from adakd.models.loading import with_adapters
from adakd.policies import Decoding

END, PAD, VOCABULARY = 0, 1, 12


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        attention_dropout=0.5,
        initializer_range=0.7,
    )
    made = LlamaForCausalLM(config)
    made.generation_config.repetition_penalty = 9.0  # as some published models have it
    made.generation_config.eos_token_id = 5
    return made.train()


def rows(*lengths: int) -> list[Example]:
    made = []
    for number, length in enumerate(lengths):
        prompt = [2 + (3 * number + 7 * place) % 10 for place in range(length)]
        made.append(Example(number, [*prompt, 3], [IGNORED] * length + [3]))
    return made


def said(answers: list[Example]) -> list[list[int]]:
    return [answer.input_ids[len(answer.prompt) :] for answer in answers]


def generator(decoder: str, pad: int = PAD, size: int = 4000) -> ResponseGenerator:
    return ResponseGenerator(Ends(END, pad), 20, DECODERS[decoder], size)


GENERATE = generator("batches")
engines = pytest.mark.parametrize("decoder", DECODERS)


def greedy(model: Any, prompt: list[int], room: int) -> list[int]:
    """The likeliest continuation without a cache, padding or a batch."""
    ids = list(prompt)
    with torch.no_grad():
        while len(ids) < len(prompt) + room:
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == END:
                break
    return ids[len(prompt) :]


@engines
def test_the_likeliest_text_is_that_of_one_row_without_cache_and_padding(
    model: Any, decoder: str
) -> None:
    given = rows(3, 9, 6, 17, 2)
    answers = generator(decoder, size=3)(model, given, Decoding(temperature=0), "now")
    model.eval()
    assert said(answers) == [greedy(model, row.prompt, 20 - len(row.prompt)) for row in given]
    model.train()
    assert [answer.number for answer in answers] == [-1, -2, -3, -4, -5]
    assert [answer.prompt for answer in answers] == [row.prompt for row in given]
    assert all(len(answer.labels) == len(answer.input_ids) for answer in answers)


@pytest.mark.parametrize(
    "habits",
    [
        {"repetition_penalty": 1.9, "encoder_repetition_penalty": 2.0},
        {"suppress_tokens": [2, 3, 4, 5], "begin_suppress_tokens": [6, 7]},
        {"no_repeat_ngram_size": 1, "bad_words_ids": [[2], [3]]},
        {"do_sample": True, "temperature": 9.0, "num_beams": 3},
        {"min_new_tokens": 9, "max_length": 4, "eos_token_id": [2, 3], "forced_eos_token_id": 4},
    ],
    ids=lambda habits: next(iter(habits)),
)
def test_the_settings_of_a_model_folder_change_nothing(
    model: Any, monkeypatch: pytest.MonkeyPatch, habits: dict[str, Any]
) -> None:
    given = rows(3, 9, 6)
    for decoding in (Decoding(temperature=0), Decoding()):
        monkeypatch.setattr(model, "generation_config", GenerationConfig())
        expected = GENERATE(model, given, decoding, "now")
        monkeypatch.setattr(model, "generation_config", GenerationConfig(**habits))
        assert GENERATE(model, given, decoding, "now") == expected


def test_samples_are_drawn_from_the_models_distribution(model: Any) -> None:
    (row,) = rows(4)
    many = [Example(number, row.input_ids, row.labels) for number in range(4000)]
    model.eval()
    with torch.no_grad():
        logits = model(torch.tensor([row.prompt])).logits[0, -1]
    model.train()
    for decoding in (
        Decoding(max_new_tokens=1),
        Decoding(temperature=0.5, max_new_tokens=1),
        Decoding(top_k=3, max_new_tokens=1),
        Decoding(top_p=0.6, max_new_tokens=1),
    ):
        scores = logits / decoding.temperature
        order = scores.argsort(descending=True)
        before = scores.softmax(-1)[order].cumsum(-1) - scores.softmax(-1)[order]
        out = order[(before >= decoding.top_p) | (torch.arange(12) >= (decoding.top_k or 12))]
        expected = scores.index_fill(0, out, -torch.inf).softmax(-1)
        drawn = Counter(answer[0] for answer in said(GENERATE(model, many, decoding, "now")))
        for token, share in enumerate(expected.tolist()):
            # 5 standard errors
            assert abs(drawn[token] / 4000 - share) <= 5 * (share * (1 - share) / 4000) ** 0.5


def test_an_answer_ends_with_its_end_or_where_no_more_fits(model: Any) -> None:
    given = [row for row in rows(*[2 + n % 17 for n in range(120)])]
    answers = GENERATE(model, given, Decoding(), "now")
    short = GENERATE(model, given, Decoding(max_new_tokens=3), "now")
    for row, answer, cut in zip(given, said(answers), said(short), strict=True):
        room = 20 - len(row.prompt)
        assert END not in answer[:-1]
        assert answer[-1] == END or len(answer) == room
        assert 1 <= len(answer) <= room
        assert cut == answer[: min(3, room)]
    assert {answer[-1] == END for answer in said(answers)} == {True, False}


def test_padding_that_is_the_end_changes_nothing(model: Any) -> None:
    given = rows(3, 9, 6, 17, 2)
    other = generator("batches", pad=END)
    assert said(other(model, given, Decoding(), "x")) == said(
        GENERATE(model, given, Decoding(), "x")
    )


def test_a_row_says_the_same_in_any_company(model: Any) -> None:
    given = rows(5, 9, 12, 3)
    together = said(GENERATE(model, given, Decoding(), "now"))
    alone = [said(GENERATE(model, [row], Decoding(), "now"))[0] for row in given]
    assert together == alone
    assert together != said(GENERATE(model, given, Decoding(), "later"))


@engines
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_it_leaves_everything_as_it_was(
    model: Any, lora: bool, decoder: str, precision: torch.dtype
) -> None:
    write = replace(generator(decoder), precision=precision)
    base = deepcopy(model)
    base.activation_checkpointing_enable()
    writer = with_adapters(base, Lora(r=2, dropout=0.5), 1).train() if lora else base
    held = {name: (one, one.data_ptr()) for name, one in writer.named_parameters()}
    torch.manual_seed(3)
    before, state = torch.get_rng_state(), torch.rand(3)
    torch.manual_seed(3)
    answers = write(writer, rows(4, 6), Decoding(), "now")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.rand(3), state)
    assert answers == write(writer, rows(4, 6), Decoding(), "now")
    assert {name: (one, one.data_ptr()) for name, one in writer.named_parameters()} == held
    assert base.is_gradient_checkpointing
    assert all(module.training for module in writer.modules())
    assert base.generation_config.repetition_penalty == 9.0
    assert all(parameter.grad is None for parameter in writer.parameters())


@engines
def test_half_precision_is_that_of_the_weights(model: Any, decoder: str) -> None:
    """As a copy in that precision answers, with tied weights too; buffers stay as they are."""
    config = LlamaConfig(**{**model.config.to_dict(), "tie_word_embeddings": True})
    tied = LlamaForCausalLM(config)
    seen: list[torch.dtype] = []
    tied.lm_head.register_forward_pre_hook(lambda layer, given: seen.append(given[0].dtype))
    frequencies = tied.model.rotary_emb.inv_freq.clone()
    write = replace(generator(decoder), precision=torch.bfloat16)
    answers = write(tied.train(), rows(3, 9, 6), Decoding(temperature=0), "now")
    assert set(seen) == {torch.bfloat16}
    with torch.no_grad():
        for parameter in tied.parameters():
            parameter.copy_(parameter.bfloat16())  # what a second cast leaves as it is
    assert write(tied, rows(3, 9, 6), Decoding(temperature=0), "now") == answers
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    assert torch.equal(tied.model.rotary_emb.inv_freq, frequencies)


def test_each_token_is_read_once(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    real = LlamaForCausalLM.forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        lengths.append(kwargs["input_ids"].shape[1])
        return real(self, *args, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    answers = GENERATE(model, rows(9, 4), Decoding(), "now")
    assert lengths[0] == 9
    assert set(lengths[1:]) == {1}
    assert len(lengths) == max(map(len, said(answers)))
