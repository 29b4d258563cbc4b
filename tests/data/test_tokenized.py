"""Tokenizing rows: labels cover the response up to its end token."""

from typing import Any

import pytest
import torch

from adakd.config import Data, Generated
from adakd.data import Row, prompt_of, read_rows
from adakd.data.example import IGNORED, Example
from adakd.data.tokenized import encode
from adakd.errors import AdakdError
from adakd.training.batches import Collator

SOURCE = Generated(kind="generated", rows=20)


def data(**settings: Any) -> Data:
    return Data(train=SOURCE, **{"template": "plain", **settings})


def row(response: str, instruction: str = "Copy the words.") -> Row:
    return Row("1", instruction, "cat dog", (response,))


@pytest.mark.parametrize("template", ["plain", "alpaca"])
def test_labels_are_the_response_and_its_end(make_suite, tokenizer: Any, template: Any) -> None:
    rows = read_rows(SOURCE, make_suite())
    encoded = encode(rows, tokenizer, data(template=template))
    assert len(encoded.examples) == len(rows)
    for given, example in zip(rows, encoded.examples, strict=True):
        ids, labels = example.input_ids, example.labels
        start = sum(label == IGNORED for label in labels)
        prompt = prompt_of(given.instruction, given.input, template)
        assert tokenizer.decode(ids[:start]) == prompt
        assert labels == [IGNORED] * start + ids[start:]
        assert tokenizer.decode(ids[start:-1]) == given.references[0]
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.eos_token_id not in ids[:-1]


def test_a_long_response_is_cut_and_does_not_end(tokenizer: Any) -> None:
    whole = encode([row("cat dog " * 20)], tokenizer, data()).examples[0]
    cut = encode([row("cat dog " * 20)], tokenizer, data(max_tokens=30)).examples[0]
    assert cut == Example(0, whole.input_ids[:30], whole.labels[:30])
    assert cut.input_ids[-1] != tokenizer.eos_token_id


def test_no_sequence_is_longer_than_it_may_be(make_suite, tokenizer: Any) -> None:
    rows = read_rows(SOURCE, make_suite())
    whole = encode(rows, tokenizer, data()).examples
    longest = max(len(e.input_ids) for e in whole)
    shortest_prompt = min(e.labels.count(IGNORED) for e in whole)
    for limit in range(shortest_prompt + 1, longest):
        encoded = encode([*rows, row("cat " * 50)], tokenizer, data(max_tokens=limit))
        assert max(len(e.input_ids) for e in encoded.examples) <= limit
        assert all(e.labels[-1] != IGNORED for e in encoded.examples)


def test_rows_without_trainable_tokens_are_dropped_and_counted(tokenizer: Any) -> None:
    long_prompt, empty = row("cat", "Copy! " * 200), row("")
    blank = row(" \n\t")
    encoded = encode([row("cat"), long_prompt, empty, blank, row("dog")], tokenizer, data())
    assert encoded.left_out == 3
    assert [tokenizer.decode(e.input_ids).split("\n\n")[1] for e in encoded.examples] == [
        "cat<end>",
        "dog<end>",
    ]


def test_the_limit_of_prompts_is_exact(tokenizer: Any) -> None:
    length = len(tokenizer(prompt_of("Copy the words.", "cat dog", "plain"))["input_ids"])
    assert encode([row("cat")], tokenizer, data(max_prompt_tokens=length)).left_out == 0
    with pytest.raises(AdakdError, match=rf"none of 1 rows.*max_prompt_tokens \({length - 1}\)"):
        encode([row("cat")], tokenizer, data(max_prompt_tokens=length - 1))


def test_no_row_left_is_an_error(tokenizer: Any) -> None:
    with pytest.raises(AdakdError, match=r"data\.train: none of 2 rows"):
        encode([row(""), row("cat")], tokenizer, data(max_tokens=2))


def test_a_batch_is_padded_on_the_right() -> None:
    examples = [Example(4, [5, 6, 7], [IGNORED, 6, 7]), Example(2, [8], [IGNORED])]
    batch = Collator(pad=1)(examples)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [IGNORED, IGNORED, IGNORED]]
    assert batch["number"].tolist() == [4, 2]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_padding_is_told_by_place_not_by_token() -> None:
    """If the end token is also the padding token, the end of a response is still a label."""
    examples = [Example(0, [5, 0], [5, 0]), Example(1, [5], [5])]
    batch = Collator(pad=0)(examples)
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert batch["labels"].tolist() == [[5, 0], [5, IGNORED]]
