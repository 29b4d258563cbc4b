"""What the answers look like: lengths, empty and repeating ones, which scores and judges blur."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median

from adakd.reporting.index import Index, Method

REPEATING = 0.3
"""An answer repeats itself if so few of its words are different ones."""
LONG = 20
"""Words from which on repetition is looked for: a short answer has no room for it."""


@dataclass(frozen=True)
class Look:
    """The answers of one method over all instruction sets, training and sampling seeds."""

    method: Method
    answers: int
    median_words: float
    mean_words: float
    empty: float
    """Share of answers without a word."""
    repeating: float
    """Share of answers that go round in circles."""


def looks(index: Index) -> tuple[Look, ...]:
    """Describe the answers of every method that has any."""
    found = ((method, list(_words(index, method))) for method in index.methods)
    return tuple(_look(method, answers) for method, answers in found if answers)


def _words(index: Index, method: Method) -> Iterator[list[str]]:
    for task in index.sets:
        for seed in index.all_seeds:
            for record in index.scores.get((method, seed, task.key), ()):
                yield from (i.answer.split() for i in record.items if i.answer is not None)


def _look(method: Method, answers: list[list[str]]) -> Look:
    lengths = [len(words) for words in answers]
    return Look(
        method=method,
        answers=len(answers),
        median_words=median(lengths),
        mean_words=fmean(lengths),
        empty=fmean(not words for words in answers),
        repeating=fmean(repeats(words) for words in answers),
    )


def repeats(words: list[str]) -> bool:
    """Whether an answer goes round in circles."""
    return len(words) >= LONG and len(set(words)) < REPEATING * len(words)
