"""ROUGE-L: the numbers of the package rouge-score, to the bit."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from adakd.metrics.rouge_l import rouge_l

words = st.lists(st.sampled_from("a cat cats sat running run the mat".split()), max_size=8)
stemmed = st.tuples(
    st.sampled_from(["", "s", "fl", "by", "sky", "hop", "relat", "gener", "adj", "x1y", "agre"]),
    st.sampled_from("s es ies sses ing ings eed ed ate ational tional y ly fulness e ment".split()),
).map("".join)
odd = st.sampled_from(
    ["", "...", "\ud800", "İSTANBUL ǅ", "½²ⅷ9", "don't", "naïve\x00tab\t", "\u2028", "日本語 x"]
)
texts = st.one_of(
    words.map(" ".join),
    st.lists(stemmed | words.map("-".join) | odd, max_size=12).map(" ".join),
    st.text(max_size=40),
    st.text(alphabet="aeiouybcdlst", max_size=12),
    odd,
)


@cache
def package() -> RougeScorer:
    return RougeScorer(["rougeL"], use_stemmer=True)


@given(texts, texts)
def test_one_reference_is_the_packages_f_measure_with_stemming(answer: str, reference: str) -> None:
    assert rouge_l(answer, [reference]) == package().score(reference, answer)["rougeL"].fmeasure


@given(texts, st.lists(texts, min_size=1, max_size=4))
def test_of_several_references_the_best_counts(answer: str, references: list[str]) -> None:
    assert rouge_l(answer, references) == max(rouge_l(answer, [one]) for one in references)
    assert 0 <= rouge_l(answer, references) <= 1


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("the cat sat", "the cat sat", 1),
        ("The cats SAT!", "the cat sat", 1),
        ("a b", "c d", 0),
        ("", "a", 0),
        ("", "", 0),
        ("the cat", "the cat sat down", 2 * (1 * 0.5) / 1.5),
        ("sat the cat", "the cat sat", 2 / 3),
    ],
)
def test_by_hand(answer: str, reference: str, value: float) -> None:
    assert rouge_l(answer, [reference]) == pytest.approx(value)
