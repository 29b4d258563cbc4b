"""ROUGE-L as the package rouge-score computes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from adakd.evaluation.rouge import rouge_l

words = st.lists(st.sampled_from("a cat cats sat running run the mat".split()), max_size=8)
texts = words.map(" ".join) | st.text(max_size=20)


@given(texts, texts)
def test_one_reference_is_the_packages_f_measure_with_stemming(answer: str, reference: str) -> None:
    package = RougeScorer(["rougeL"], use_stemmer=True)
    assert rouge_l(answer, [reference]) == package.score(reference, answer)["rougeL"].fmeasure


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
