"""Exact match after SQuAD's normalization."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adakd.metrics import exact_match, token_f1


@pytest.mark.parametrize(
    ("answer", "references", "value"),
    [
        ("The Eiffel Tower.", ["eiffel tower"], 1),
        ("eiffel  tower", ["an Eiffel-Tower"], 0),  # the hyphen joins
        ("Paris", ["London", "paris!"], 1),
        ("Paris, France", ["Paris"], 0),
        ("北京。", ["北京"], 1),
        ("«Москва»", ["москва"], 1),
        ("", ["the"], 1),
        ("", ["x"], 0),
    ],
)
def test_by_hand(answer: str, references: list[str], value: float) -> None:
    assert exact_match(answer, references) == value


texts = st.lists(st.sampled_from("a An the cat Cat, cat. dog $dog".split())).map(" ".join)


def restated(answer: str, reference: str) -> bool:
    """SQuAD's evaluation script, by regular expressions."""

    def normal(text: str) -> list[str]:
        bare = re.sub(f"[{re.escape(string.punctuation)}]", "", text.lower())
        return re.sub(r"\b(a|an|the)\b", " ", bare).split()

    return normal(answer) == normal(reference)


@given(texts, texts)
def test_it_is_squads(answer: str, reference: str) -> None:
    assert exact_match(answer, [reference]) == restated(answer, reference)


@given(st.text(max_size=15), st.text(max_size=15))
def test_a_match_has_the_full_f1(answer: str, reference: str) -> None:
    if exact_match(answer, [reference]):
        assert token_f1(answer, [reference]) == 1
