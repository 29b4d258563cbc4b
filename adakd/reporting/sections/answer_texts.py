"""Answer texts in numbers: lengths, empty and repetitive answers, which scores do not show."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median

from adakd.reporting.index import Index, Method
from adakd.reporting.sections.base import Context

REPETITIVE = 0.3
"""An answer is repetitive if its share of different words is below this."""
LONG = 20
"""Least words of a repetitive answer: a shorter one repeats few words by chance."""


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
    rows = tuple(_statistics(method, answers) for method, answers in found if answers)
    return AnswerTexts(rows) if rows else None


def _words(index: Index, method: Method) -> Iterator[list[str]]:
    for task in index.sets:
        for seed in index.all_seeds:
            for record in index.scores.get((method, seed, task.key), ()):
                yield from (i.answer.split() for i in record.items if i.answer is not None)


def _statistics(method: Method, answers: list[list[str]]) -> TextStatistics:
    lengths = [len(words) for words in answers]
    return TextStatistics(
        method=method,
        answers=len(answers),
        median_words=median(lengths),
        mean_words=fmean(lengths),
        empty=fmean(not words for words in answers),
        repetitive=fmean(is_repetitive(words) for words in answers),
    )


def is_repetitive(words: list[str]) -> bool:
    """Whether an answer repeats few words over and over."""
    return len(words) >= LONG and len(set(words)) < REPETITIVE * len(words)
