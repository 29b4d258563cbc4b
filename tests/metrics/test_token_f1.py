"""SQuAD's F1 of the tokens."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adakd.metrics import token_f1


@pytest.mark.parametrize(
    ("answer", "references", "value"),
    [
        ("the cat sat", ["A cat sat down"], 2 * 1 * (2 / 3) / (5 / 3)),
        ("cat cat dog", ["cat dog dog"], 2 / 3),  # one cat and one dog in common
        ("down sat cat", ["cat sat down"], 1),  # the order does not count
        ("x", ["y", "x y"], 2 * 1 * 0.5 / 1.5),
        ("我爱你", ["你不爱我"], 2 * 1 * 0.75 / 1.75),
        ("iPhone 很好", ["iPhone 好"], 2 * (2 / 3) * 1 / (5 / 3)),
        ("cats", ["cat"], 0),  # nothing is stemmed
        ("", ["the"], 1),
        ("", ["x"], 0),
    ],
)
def test_by_hand(answer: str, references: list[str], value: float) -> None:
    assert token_f1(answer, references) == pytest.approx(value)


texts = st.lists(st.sampled_from("a An the cat Cat, cat. dog $dog owl".split())).map(" ".join)


def restated(answer: str, reference: str) -> float:
    """SQuAD's definition, by taking common tokens out one at a time."""

    def normal(text: str) -> list[str]:
        bare = re.sub(f"[{re.escape(string.punctuation)}]", "", text.lower())
        return re.sub(r"\b(a|an|the)\b", " ", bare).split()

    mine, left = normal(answer), normal(reference)
    if not mine or not left:
        return float(mine == left)
    sizes, common = len(mine) + len(left), 0
    for token in mine:
        if token in left:
            left.remove(token)
            common += 1
    return 2 * common / sizes


@given(texts, texts)
def test_it_is_squads(answer: str, reference: str) -> None:
    assert token_f1(answer, [reference]) == pytest.approx(restated(answer, reference))
