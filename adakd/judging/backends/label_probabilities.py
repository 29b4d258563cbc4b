"""Typed decisions: a verdict as label probabilities, without a text to parse.

The questions and answers of the System One API are the same in process (``DecisionPipeline`` of
transformers) and over HTTP (``POST /v1/systemone`` of ``transformers serve``).
"""

import re
from collections.abc import Mapping, Sequence
from math import isclose
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from adakd.config.judge import Asks
from adakd.judging.base import Preference, Verdict

NAME = "verdict"
"""The name of the only question of a request."""
LETTERS = 26
"""The most options of a question: a model without a decision head answers with a letter."""
_CHOICES: tuple[Preference, ...] = ("first", "second", "tie")


def _distinct(labels: tuple[str, str, str]) -> tuple[str, str, str]:
    if len(set(labels)) < len(labels) or not all(labels):
        raise ValueError("needs three distinct labels, for: first better, second better, tie")
    for label in labels:
        if label != label.strip() or not label.isprintable() or re.search(r"[\[\]]", label):
            raise ValueError(
                f"{label!r} is no label that can be read: write it in one line, without brackets "
                "and without blanks around it"
            )
    return labels


def _rising(scale: tuple[int, int]) -> tuple[int, int]:
    low, high = scale
    if not 1 <= high - low < LETTERS:
        raise ValueError(f"expected [lowest, highest] with 2 to {LETTERS} levels, such as [1, 5]")
    return scale


Labels = Annotated[tuple[str, str, str], AfterValidator(_distinct)]
"""The labels for: first answer better, second answer better, tie."""
RatingScale = Annotated[tuple[int, int], AfterValidator(_rising)]
"""The lowest and the highest level of a rating."""


class _Answer(BaseModel):
    """The probabilities of an answer: of a choice by option, of a score by level from 0."""

    model_config = ConfigDict(strict=True)

    probabilities: dict[str, Annotated[float, Field(ge=0, le=1.01, allow_inf_nan=False)]]


class _Answers(BaseModel):
    verdict: _Answer
    """The field is named :data:`NAME`."""


def typed_questions(asks: Asks, labels: Sequence[str], scale: tuple[int, int]) -> dict[str, Any]:
    """Return the ``questions`` of a request: a choice for a pair, a score for one answer.

    Args:
        asks: whether to compare or rate.
        labels: for a pair: first answer better, second answer better, tie.
        scale: for a rating: the lowest and the highest level.
    """
    if asks == "rating":
        levels = [str(level) for level in _levels(scale)]
        levels[0] += " (the worst)"
        levels[-1] += " (the best)"
        question: dict[str, Any] = {
            "type": "score",
            "instructions": "How good is the answer?",
            "criteria": levels,
        }
    else:
        meanings = ("Answer A is better.", "Answer B is better.", "Both are equally good.")
        question = {
            "type": "choice",
            "instructions": "Which answer is better?",
            "criteria": dict(zip(labels, meanings, strict=True)),
        }
    return {NAME: question}


def read_verdict(
    answers: Mapping[str, Any], asks: Asks, labels: Sequence[str], scale: tuple[int, int]
) -> Verdict:
    """Read the verdict from the ``answers`` to :func:`typed_questions`; malformed ones fail.

    The most likely label of a pair is the choice, or a tie if two are equally likely. A rating is
    the expected level, so that the whole distribution counts and two answers are rarely equal; it
    is rounded to hundredths, since smaller differences are numerical noise.
    """
    options = [str(i) for i in range(len(_levels(scale)))] if asks == "rating" else labels
    found = _probabilities(answers, options)
    if isinstance(found, str):
        return Verdict("failed", found)
    if asks == "rating":
        expected = sum(level * share for level, share in zip(_levels(scale), found, strict=True))
        return Verdict("rated", score=round(expected, 2))
    first, second, tie = found
    best = [choice for choice, share in zip(_CHOICES, found, strict=True) if share == max(found)]
    return Verdict(best[0] if len(best) == 1 else "tie", probabilities=(first, second, tie))


def _levels(scale: tuple[int, int]) -> range:
    low, high = scale
    return range(low, high + 1)


def _probabilities(answers: Mapping[str, Any], options: Sequence[str]) -> list[float] | str:
    """Return the options' probabilities, normalized to sum to 1, or an error message."""
    try:
        shares = _Answers.model_validate(answers).verdict.probabilities
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'answers'}: {first['msg']}"
    if set(shares) != set(options):
        return f"probabilities of {', '.join(shares) or 'nothing'}, not of {', '.join(options)}"
    total = sum(shares.values())
    if not isclose(total, 1, abs_tol=0.01):
        return f"probabilities that add up to {total:.3g}, not to 1"
    return [shares[option] / total for option in options]
