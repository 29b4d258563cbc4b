"""Words and characters of any script, and the normalization of SQuAD."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adakd.metrics.tokens import normalized, split_spaceless, unicode_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop_me now!", ["don", "t", "stop", "me", "now"]),
        ("Привет, МИР", ["привет", "мир"]),
        ("Straße", ["strasse"]),
        ("你好，世界", ["你", "好", "世", "界"]),
        ("GPT4は新しい。", ["gpt4", "は", "新", "し", "い"]),
        ("ﬁne ＡＢＣ", ["fine", "abc"]),  # compatibility forms
        ("ﾃｽﾄ", ["テ", "ス", "ト"]),  # halfwidth kana
        ("ดีมาก", ["ดี", "ม", "า", "ก"]),  # a mark stays with its consonant
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),  # vowel signs are no word ends
        ("می\u200cخواهم", ["میخواهم"]),  # nor are joiners
        ("안녕하세요 세계", ["안녕하세요", "세계"]),  # Hangul has spaces
        ("ខ្ញុំ", ["\u1781\u17d2", "\u1789\u17bb\u17c6"]),
        ("", []),
        ("…!?", []),
    ],
)
def test_words_by_hand(text: str, words: list[str]) -> None:
    assert unicode_words(text) == words


@given(st.text(alphabet=string.printable, max_size=40))
def test_ascii_words_are_runs_of_letters_and_digits(text: str) -> None:
    assert unicode_words(text) == re.findall("[a-z0-9]+", text.lower())


@given(st.text(max_size=30))
def test_words_stay_words(text: str) -> None:
    """Splitting what was split changes nothing, so that a text equals its own words."""
    words = unicode_words(text)
    assert unicode_words(" ".join(words)) == words


@given(st.text(max_size=30))
def test_splitting_loses_nothing_but_white_space(text: str) -> None:
    assert "".join(split_spaceless(text)) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  cat, an owl and a\tdog!", "cat owl and dog"),
        ("“Déjà-vu” — $5", "déjàvu 5"),
        ("THEATRE", "theatre"),
        ("你好，世界。", "你好世界"),
        ("a", ""),
    ],
)
def test_normalization_by_hand(text: str, normal: str) -> None:
    assert normalized(text) == normal


@given(st.text(alphabet=string.printable + "éß“”、。", max_size=40))
def test_normalization_is_squads(text: str) -> None:
    """Compared to SQuAD's evaluation script, with these few further signs as punctuation."""
    kept = "".join(ch for ch in text.lower() if ch not in set(string.punctuation + "“”、。"))
    assert normalized(text) == " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())
