"""The text of every entry of a vocabulary."""

import copy
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from adakd.data.vocabulary import vocabulary_of


def sentence_piece() -> Any:
    """A tokenizer with SentencePiece's spaces and bytes, as Llama's and Gemma's have them."""
    words = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["\u2581", "a", "b", "\u2581a", "ab"]
    vocabulary = {word: number for number, word in enumerate(words)}
    merges = [("\u2581", "a"), ("a", "b")]
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "\u2581")
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", eos_token="</s>", pad_token="</s>"
    )


@pytest.mark.parametrize("text", ["ab a", " a\u00e9b", "\u65e5\n\n", ""])
@pytest.mark.parametrize("kind", ["byte-level", "sentence-piece"])
def test_the_pieces_of_a_text_are_the_text(kind: str, text: str, tokenizer: Any) -> None:
    tokenizer = tokenizer if kind == "byte-level" else sentence_piece()
    made = vocabulary_of(tokenizer)
    ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"], np.int64)
    assert made.text(ids) == text.encode()
    assert made.lengths[ids].sum() == len(text.encode())


def test_word_pieces_have_a_space_before_each_word_but_the_text_counts_without() -> None:
    words = ["[UNK]", "[SEP]", "play", "##ing", ",", "##2", "a", "##"]
    made = Tokenizer(models.WordPiece({w: n for n, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", eos_token="[SEP]", pad_token="[SEP]"
    )
    found = vocabulary_of(tokenizer)
    assert found.spaced is False
    assert found.pieces == (b"", b"", b" play", b"ing", b",", b"2", b" a", b"##")
    assert vocabulary_of(sentence_piece()).spaced


def test_special_tokens_have_no_text(tokenizer: Any) -> None:
    made = vocabulary_of(tokenizer)
    assert made.end == tokenizer.eos_token_id
    assert made.special == {tokenizer.eos_token_id, tokenizer.pad_token_id}
    assert made.text(np.array([*made.special])) == b""
    assert len(made) == len(tokenizer)


def test_an_added_token_is_its_own_text() -> None:
    made = Tokenizer(models.BPE({"<end>": 0, "a": 1}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>")
    tokenizer.add_tokens(["\u0120\u00e9"])  # in byte-level letters this would be another text
    assert vocabulary_of(tokenizer).pieces == (b"", b"a", "\u0120\u00e9".encode())


def test_entries_that_the_model_lacks_are_left_out(tokenizer: Any) -> None:
    """Gemma's tokenizer, for one, has a token for images that the text model has not."""
    tokenizer = copy.deepcopy(tokenizer)
    whole = vocabulary_of(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    assert len(vocabulary_of(tokenizer)) == len(whole) + 1
    assert vocabulary_of(tokenizer, most=len(whole)) == whole
    assert vocabulary_of(tokenizer, most=10**6) == vocabulary_of(tokenizer)
