"""ROUGE-L as the paper reports it: the package rouge-score's numbers, without its tables."""

import re
from collections.abc import Sequence
from functools import cache, lru_cache

from nltk.stem.porter import PorterStemmer
from rapidfuzz.distance import LCSseq

_WORD = re.compile("[a-z0-9]+")
_STEMMER = PorterStemmer()
_NUMBERS: dict[str, int] = {}
"""Every stem met so far, numbered: whole numbers compare faster than texts and never collide."""


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    r"""Return the ROUGE-L F-measure in [0, 1], with stemming, the maximum over references.

    .. math:: F = \frac{2 P R}{P + R}, \quad P = \frac{L}{m}, \quad R = \frac{L}{n}

    with :math:`L` the length of the longest common subsequence of the prediction's :math:`m` and
    the reference's :math:`n` stems.

    References:
        `ROUGE: A Package for Automatic Evaluation of Summaries
        <https://aclanthology.org/W04-1013>`_, 2004; equal to the package rouge-score to the bit.
    """
    stems = _stems(prediction)
    return max(_f_measure(stems, _stems(reference)) for reference in references)


def _f_measure(prediction: tuple[int, ...], reference: tuple[int, ...]) -> float:
    common = LCSseq.similarity(prediction, reference)
    if common == 0:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return 2 * precision * recall / (precision + recall)


@lru_cache(maxsize=1 << 14)
def _stems(text: str) -> tuple[int, ...]:
    """Return the numbers of a text's stems; the references of a set come back for every model."""
    return tuple(map(_stem, _WORD.findall(text.lower())))


@cache
def _stem(word: str) -> int:
    """Return the number of a word's stem; words of up to three letters are their own."""
    stem = _STEMMER.stem(word) if len(word) > 3 else word
    return _NUMBERS.setdefault(stem, len(_NUMBERS))
