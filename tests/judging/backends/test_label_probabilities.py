from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from adakd.judging.backends.label_probabilities import (
    Labels,
    RatingScale,
    read_verdict,
    typed_questions,
)

LABELS = ("A", "B", "C")
SCALE = (1, 5)


def of_pair(probabilities: Any) -> dict[str, Any]:
    return {"verdict": {"type": "choice", "probabilities": probabilities}}


def of_answer(probabilities: Any) -> dict[str, Any]:
    return {"verdict": {"type": "score", "probabilities": probabilities}}


@pytest.mark.parametrize("labels", [LABELS, ("x", "y", "z")])
def test_a_pair_is_asked_and_answered_in_the_shapes_of_transformers(labels: Any) -> None:
    from transformers.decision import DecisionConfig, parse_questions

    (question,) = parse_questions(typed_questions("pair", labels, SCALE), DecisionConfig())
    assert (question.type, tuple(question.options)) == ("choice", labels)
    assert len(set(question.descriptions)) == 3
    answers = {question.name: question.answer([0.2, 0.5, 0.3])}
    verdict = read_verdict(answers, "pair", labels, SCALE)
    assert verdict.choice == "second"
    assert verdict.probabilities == pytest.approx((0.2, 0.5, 0.3))


@pytest.mark.parametrize("scale", [(1, 5), (0, 1), (-3, 3), (1, 26)])
def test_a_rating_is_asked_and_answered_in_the_shapes_of_transformers(scale: Any) -> None:
    from transformers.decision import DecisionConfig, parse_questions

    (question,) = parse_questions(typed_questions("rating", LABELS, scale), DecisionConfig())
    levels = scale[1] - scale[0] + 1
    assert (question.type, len(question.options)) == ("score", levels)
    for level in range(levels):
        sure = [float(i == level) for i in range(levels)]
        verdict = read_verdict({question.name: question.answer(sure)}, "rating", LABELS, scale)
        assert (verdict.choice, verdict.score) == ("rated", scale[0] + level)
        assert verdict.probabilities is None


def test_a_rating_counts_the_whole_distribution() -> None:
    shares = {"0": 0.5, "1": 0.0, "2": 0.25, "3": 0.0, "4": 0.25}
    assert read_verdict(of_answer(shares), "rating", LABELS, SCALE).score == 2.5


def test_the_likeliest_label_is_the_choice_whatever_their_order_in_the_answer() -> None:
    for likeliest, choice in zip(LABELS, ("first", "second", "tie"), strict=True):
        shares = {label: 0.6 if label == likeliest else 0.2 for label in reversed(LABELS)}
        assert read_verdict(of_pair(shares), "pair", LABELS, SCALE).choice == choice


def test_two_likeliest_labels_are_no_preference() -> None:
    for shares in ((0.4, 0.4, 0.2), (0.4, 0.2, 0.4), (0.2, 0.4, 0.4)):
        answers = of_pair(dict(zip(LABELS, shares, strict=True)))
        assert read_verdict(answers, "pair", LABELS, SCALE).choice == "tie"


def test_probabilities_add_up_to_one_after_rounding_on_the_way() -> None:
    verdict = read_verdict(of_pair({"A": 0.333, "B": 0.333, "C": 0.333}), "pair", LABELS, SCALE)
    assert verdict.probabilities is not None
    assert sum(verdict.probabilities) == pytest.approx(1)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (None, "answers: "),
        ([], "answers: "),
        ({}, "verdict: Field required"),
        ({"verdict": "A"}, "verdict: "),
        ({"verdict": {"type": "choice", "choice": "A"}}, "verdict.probabilities: "),
        (of_pair([0.2, 0.3, 0.5]), "verdict.probabilities: "),
        (of_pair({}), "probabilities of nothing, not of A, B, C"),
        (of_pair({"A": 0.5, "B": 0.5}), "probabilities of A, B, not of A, B, C"),
        (of_pair({"A": 0.4, "B": 0.4, "D": 0.2}), "probabilities of A, B, D"),
        (of_pair({"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.1}), "probabilities of A, B, C, D"),
        (of_pair({"A": "1", "B": 0.0, "C": 0.0}), "verdict.probabilities.A: "),
        (of_pair({"A": None, "B": 0.5, "C": 0.5}), "verdict.probabilities.A: "),
        (of_pair({"A": float("nan"), "B": 0.5, "C": 0.5}), "verdict.probabilities.A: "),
        (of_pair({"A": -0.5, "B": 1.0, "C": 0.5}), "verdict.probabilities.A: "),
        (of_pair({"A": 0.5, "B": 0.5, "C": 0.5}), "add up to 1.5"),
        (of_pair({"A": 0.0, "B": 0.0, "C": 0.0}), "add up to 0"),
    ],
)
def test_a_malformed_answer_is_a_failure_with_its_reason(answers: Any, said: str) -> None:
    verdict = read_verdict(answers, "pair", LABELS, SCALE)
    assert (verdict.choice, verdict.probabilities) == ("failed", None)
    assert said in verdict.reason


def test_a_rating_of_another_scale_is_a_failure() -> None:
    verdict = read_verdict(of_answer({"0": 0.5, "1": 0.5}), "rating", LABELS, SCALE)
    assert (verdict.choice, verdict.score) == ("failed", None)
    assert "probabilities of 0, 1, not of 0, 1, 2, 3, 4" in verdict.reason


@pytest.mark.parametrize("labels", [("A", "A", "C"), ("A", "", "C"), ("A", "B")])
def test_labels_must_be_told_apart(labels: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Labels).validate_python(labels)


@pytest.mark.parametrize("scale", [(5, 1), (1, 1), (1, 27), (1, 2, 3)])
def test_a_scale_rises_and_has_no_more_levels_than_there_are_letters(scale: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(RatingScale).validate_python(scale)
