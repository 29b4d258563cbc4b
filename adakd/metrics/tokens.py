"""Tokens of text in any script, for metrics that compare more than English."""

import re
import string
import unicodedata
from functools import cache

_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x3005, 0x3007),  # ideographic iteration mark, closing mark and zero
    (0x3041, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31BF),  # Bopomofo, extended
    (0x31F0, 0x31FF),  # Katakana, phonetic extensions
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF),  # Myanmar, extended B
    (0xAA60, 0xAADF),  # Myanmar, extended A; Tai Viet
    (0xF900, 0xFAFF),  # Han, compatibility
    (0xFF66, 0xFF9F),  # Katakana, halfwidth
    (0x1AFF0, 0x1B16F),  # Kana, supplements and extensions
    (0x20000, 0x3FFFF),  # Han, all further extensions
)
"""Unicode blocks of scripts that put no space between words."""
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_JOINERS = "\u200c\u200d"
"""Zero-width joiner and non-joiner: they shape the letters of a word and end none."""


def unicode_words(text: str) -> list[str]:
    """Return the case-folded words of a text; in scripts without spaces, its characters.

    A word is a run of letters, digits and marks, after NFKC and case folding: on ASCII text, a
    match of ``[a-z0-9]+`` in lower case.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return split_spaceless("".join(map(_word_part, folded)))


def normalized(text: str) -> str:
    """Normalize an answer as SQuAD does, with the punctuation of all scripts.

    Lower case, without punctuation (the ASCII signs and Unicode's categories P), without the
    English articles, with single spaces.
    """
    kept = "".join(filter(_is_kept, text.lower()))
    return " ".join(_ARTICLE.sub(" ", kept).split())


def split_spaceless(text: str) -> list[str]:
    """Split a text at white space and around each character of a script without spaces.

    Marks stay with the character before them.
    """
    return [token for run in text.split() for token in _split_run(run)]


def _split_run(run: str) -> list[str]:
    if run.isascii():
        return [run]
    tokens: list[str] = []
    is_open = False
    for character in run:
        if tokens and unicodedata.category(character)[0] == "M":
            tokens[-1] += character
            continue
        spaceless = _is_spaceless(character)
        if is_open and not spaceless:
            tokens[-1] += character
        else:
            tokens.append(character)
        is_open = not spaceless
    return tokens


@cache
def _is_spaceless(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _SPACELESS)


@cache
def _word_part(character: str) -> str:
    """Return a character of a word, nothing for a joiner, and a space for anything else."""
    if character in _JOINERS:
        return ""
    return character if unicodedata.category(character)[0] in "LMN" else " "


@cache
def _is_kept(character: str) -> bool:
    return character not in string.punctuation and unicodedata.category(character)[0] != "P"
