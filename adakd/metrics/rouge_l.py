"""ROUGE-L as the paper reports it: the package rouge-score's numbers, without its tables."""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from adakd.metrics.base import metric

if TYPE_CHECKING:
    from nltk.stem.porter import PorterStemmer

_WORD = re.compile("[a-z0-9]+")
_NUMBERS: dict[str, int] = {}
"""Every stem met so far, numbered: integers compare faster than strings and never collide."""


def _has_word(text: str) -> bool:
    return _WORD.search(text.lower()) is not None


@metric("rouge_l", title="ROUGE-L", scale=100, sees=_has_word)
def rouge_l(prediction: str, references: Sequence[str]) -> float | None:
    r"""ROUGE-L F-measure in [0, 1], with stemming, the maximum over references.

    .. math:: F = \frac{2 P R}{P + R}, \quad P = \frac{L}{m}, \quad R = \frac{L}{n}

    with :math:`L` the length of the longest common subsequence of the prediction's :math:`m` and
    the reference's :math:`n` stems. Only the letters a to z and digits count.

    References:
        `ROUGE: A Package for Automatic Evaluation of Summaries
        <https://aclanthology.org/W04-1013>`_, 2004; equal to the package rouge-score to the bit.
    """
    if not references:
        return None
    stems = _stems(prediction)
    return max(f_measure(stems, _stems(reference)) for reference in references)


def f_measure(prediction: tuple[int, ...], reference: tuple[int, ...]) -> float:
    """Return the F-measure of the longest common subsequence; 0 where nothing is in common."""
    # takes a while to import, and a plan needs none of it
    from rapidfuzz.distance import LCSseq

    common = LCSseq.similarity(prediction, reference)
    if common == 0:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return 2 * precision * recall / (precision + recall)


@lru_cache(maxsize=1 << 14)
def _stems(text: str) -> tuple[int, ...]:
    """Return the numbers of a text's stems; every model meets the references of a set again."""
    return tuple(map(stem_number, _WORD.findall(text.lower())))


@cache
def stem_number(word: str) -> int:
    """Return the number of the stem of a word in a to z and 0 to 9; up to three letters stay."""
    return number(_stemmer().stem(word) if len(word) > 3 else word)


def number(stem: str) -> int:
    """Return the number of a stem: the same for the same stem, within this process."""
    return _NUMBERS.setdefault(stem, len(_NUMBERS))


@cache
def _stemmer() -> "PorterStemmer":
    from nltk.stem.porter import PorterStemmer  # takes seconds to import

    return PorterStemmer()
