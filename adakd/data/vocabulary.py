"""The text of every entry of a tokenizer's vocabulary, as bytes. Needs no torch."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\u2581"
"""SentencePiece writes spaces so."""
_PART = "##"
"""WordPiece marks parts of words so, but those that begin one."""
_SPACED, _GAP = "a a", re.compile("[ \u2581\u0120]")
"""A text with a space, and how tokenizers write one: byte-level BPE as the third."""


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer's entries and what they stand for in a text."""

    names: tuple[str, ...]
    """The tokenizer's own name of each entry, by its id."""
    pieces: tuple[bytes, ...]
    """The bytes that each entry adds to a text; none for special tokens."""
    special: frozenset[int]
    """The ids of special tokens, which stand for no text."""
    end: int
    """The id of the token that ends a response."""
    encode: Callable[[Sequence[str]], Sequence[Sequence[int]]] | None = field(
        default=None, compare=False, repr=False
    )
    """Tokenizes texts, without special tokens around them; None for a vocabulary alone."""
    shares: "np.ndarray[Any, Any] | None" = field(default=None, compare=False, repr=False)
    """Share of each entry among the tokens of the training responses, ``(V,)``; None if unknown."""
    spaced: bool = True
    """Whether a text's tokens have its spaces. WordPiece leaves them out: there, texts are compared
    without."""

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.names)

    @cached_property
    def lengths(self) -> "np.ndarray[Any, Any]":
        """Number of bytes of each entry, ``(V,)``."""
        return np.fromiter(map(len, self.pieces), np.int64, len(self.pieces))

    def text(self, ids: "np.ndarray[Any, Any]") -> bytes:
        """Return the bytes of some tokens."""
        return b"".join([self.pieces[token] for token in ids.tolist()])

    def cut(self, texts: Sequence[bytes]) -> list[list[int]]:
        """Return the entries that each text is tokenized into; none where it cannot be written.

        A tokenizer may write another text (a space before it) or have no text to read (a part of a
        letter): there, and without a tokenizer, a text is cut into the longest entries that fit.
        """
        found: list[list[int]] = [[] for _ in texts]
        if self.encode is not None:
            readable = [place for place, text in enumerate(texts) if _is_text(text)]
            encoded = self.encode([texts[place].decode() for place in readable]) if readable else ()
            for place, ids in zip(readable, encoded, strict=True):
                if b"".join([self._piece(token) for token in ids]) == texts[place]:
                    found[place] = [*ids]
        return [ids or self._longest(text) for ids, text in zip(found, texts, strict=True)]

    def _piece(self, token: int) -> bytes:
        return self.pieces[token] if token < len(self) else b""

    def _longest(self, text: bytes) -> list[int]:
        entries, longest = self._entries
        found: list[int] = []
        while text:
            sizes = range(min(len(text), longest), 0, -1)
            size = next((size for size in sizes if text[:size] in entries), 0)
            if not size:
                return []
            found.append(entries[text[:size]])
            text = text[size:]
        return found

    @cached_property
    def _entries(self) -> tuple[dict[bytes, int], int]:
        """The entry of each text, and the bytes of the longest."""
        entries = {piece: number for number, piece in enumerate(self.pieces) if piece}
        return entries, max(map(len, entries), default=0)


def vocabulary_of(tokenizer: Any, most: int | None = None) -> Vocabulary:
    """Return the vocabulary of a transformers tokenizer: byte-level, SentencePiece or plain.

    Args:
        tokenizer: of a model.
        most: entries that the model has; a tokenizer may have more, for inputs other than text.
    """
    count = len(tokenizer) if most is None else min(most, len(tokenizer))
    names = tokenizer.convert_ids_to_tokens(range(count))
    names = [name or "" for name in names]  # ids that a tokenizer leaves out
    added = tokenizer.added_tokens_decoder
    special = {number for number, token in added.items() if token.special and number < count}
    special |= {number for number in tokenizer.all_special_ids if number < count}
    encode = _encoder(tokenizer)
    spaced = any(_GAP.search(names[token]) for token in encode([_SPACED])[0] if token < count)
    piece_of = _byte_level if _is_byte_level(tokenizer) else _sentence_piece
    if not spaced and _has_words(tokenizer):
        piece_of = _word_piece
    pieces = []
    for number, name in enumerate(names):
        if number in special:
            pieces.append(b"")
        elif number in added:
            pieces.append(added[number].content.encode())
        else:
            pieces.append(piece_of(name))
    return Vocabulary(
        tuple(names),
        tuple(pieces),
        frozenset(special),
        tokenizer.eos_token_id,
        encode=encode,
        spaced=spaced,
    )


def _encoder(tokenizer: Any) -> Callable[[Sequence[str]], Sequence[Sequence[int]]]:
    backend = getattr(tokenizer, "backend_tokenizer", None)

    def encode(texts: Sequence[str]) -> Sequence[Sequence[int]]:
        if backend is None or backend.truncation or backend.padding:
            found: Sequence[Sequence[int]]
            found = tokenizer([*texts], add_special_tokens=False)["input_ids"]
            return found
        # The same without a dictionary for each text, which takes longer than the text.
        return [one.ids for one in backend.encode_batch([*texts], add_special_tokens=False)]

    return encode


def _is_text(given: bytes) -> bool:
    try:
        given.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_byte_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and "ByteLevel" in str(backend.decoder)


def _has_words(tokenizer: Any) -> bool:
    """Return whether its entries are words, and perhaps marked parts of words."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and type(backend.model).__name__ in ("WordPiece", "WordLevel")


def _sentence_piece(name: str) -> bytes:
    if found := _BYTE.fullmatch(name):
        return bytes([int(found[1], 16)])
    return name.replace(_SPACE, " ").encode()


def _word_piece(name: str) -> bytes:
    """Return the text of a part of a word, or of the first one with a space before it."""
    if name.startswith(_PART) and name != _PART:
        return name[len(_PART) :].encode()
    return (f" {name}" if name[:1].isalnum() else name).encode()


def _byte_level(name: str) -> bytes:
    if all(letter in _BYTES for letter in name):
        return bytes(_BYTES[letter] for letter in name)
    return name.encode()


def _byte_letters() -> dict[str, int]:
    """Return the byte that each letter of byte-level BPE stands for, as in GPT-2."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in letters.values())
    return letters | {chr(256 + number): byte for number, byte in enumerate(others)}


_BYTES = _byte_letters()
