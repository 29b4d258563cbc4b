"""ROUGE-L for text in any script."""

from collections.abc import Sequence
from functools import lru_cache

from adakd.metrics.base import metric
from adakd.metrics.rouge_l import f_measure, number, stem_number
from adakd.metrics.tokens import unicode_words


def _has_word(text: str) -> bool:
    return bool(unicode_words(text))


@metric("rouge_l_unicode", title="ROUGE-L (Unicode)", scale=100, sees=_has_word)
def rouge_l_unicode(prediction: str, references: Sequence[str]) -> float | None:
    """ROUGE-L F-measure in [0, 1] on Unicode words, the maximum over references.

    The formula of ``rouge_l``, on words of any script (letters, digits and marks, after NFKC and
    case folding) and, in scripts without spaces such as Han, Kana and Thai, on single characters.
    Only ASCII words are stemmed, since the stemmer knows English alone: on ASCII text both metrics
    are equal, while on a text without Latin letters ``rouge_l`` is 0 whatever it says.

    References:
        `ROUGE: A Package for Automatic Evaluation of Summaries
        <https://aclanthology.org/W04-1013>`_, 2004; characters as in `LCSTS: A Large Scale Chinese
        Short Text Summarization Dataset <https://aclanthology.org/D15-1229>`_, 2015.
    """
    if not references:
        return None
    stems = _stems(prediction)
    return max(f_measure(stems, _stems(reference)) for reference in references)


@lru_cache(maxsize=1 << 14)
def _stems(text: str) -> tuple[int, ...]:
    """Return the numbers of a text's stems; every model meets the references of a set again."""
    words = unicode_words(text)
    return tuple(stem_number(word) if word.isascii() else number(word) for word in words)
