"""Answer texts in numbers: lengths, empty and repetitive answers, which scores do not show."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from adakd.reporting.index import Index, Method
from adakd.reporting.sections.base import Context

REPETITIVE = 0.3
"""An answer is repetitive if its share of different words is below this."""
LONG = 20
"""Least words of a repetitive answer: a shorter one repeats few words by chance."""
Counts = NDArray[np.int32]


@dataclass(frozen=True)
class TextStatistics:
    """The answers of one method over all instruction sets, training and sampling seeds."""

    method: Method
    answers: int
    median_words: float
    mean_words: float
    empty: float
    """Share of answers without a word."""
    repetitive: float
    """Share of repetitive answers."""


@dataclass(frozen=True)
class AnswerTexts:
    """The answers of every method that has any."""

    rows: tuple[TextStatistics, ...]


def answer_texts(context: Context) -> AnswerTexts | None:
    """Describe the answers of every method; None where no answer was recorded."""
    index = context.index
    found = ((method, list(_words(index, method))) for method in index.methods)
    rows = tuple(_statistics(method, np.hstack(counts)) for method, counts in found if counts)
    return AnswerTexts(rows) if rows else None


def _words(index: Index, method: Method) -> Iterator[Counts]:
    """Yield the words and the different words of the answers of each scoring."""
    for task in index.sets:
        for seed in index.all_seeds:
            for scoring in index.scores.get((method, seed, task.key), ()):
                if scoring.words is not None:
                    yield scoring.words


def _statistics(method: Method, counts: Counts) -> TextStatistics:
    words, different = counts
    return TextStatistics(
        method=method,
        answers=len(words),
        median_words=float(np.median(words)),
        mean_words=float(words.mean()),
        empty=float((words == 0).mean()),
        repetitive=fmean(map(is_repetitive, words.tolist(), different.tolist())),
    )


def is_repetitive(words: int, different: int) -> bool:
    """Whether an answer repeats few words over and over, by its words and different words."""
    return words >= LONG and different < REPETITIVE * words
