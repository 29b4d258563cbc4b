"""Token F1, as SQuAD defines it."""

from collections import Counter
from collections.abc import Sequence

from adakd.metrics.base import metric
from adakd.metrics.tokens import normalized, split_spaceless


@metric("token_f1", title="token F1", scale=100)
def token_f1(prediction: str, references: Sequence[str]) -> float | None:
    r"""F1 of the bags of tokens in [0, 1], the maximum over references.

    .. math:: F_1 = \frac{2 P R}{P + R}, \quad P = \frac{c}{m}, \quad R = \frac{c}{n}

    with :math:`c` the tokens in common, each as often as both have it, of the prediction's
    :math:`m` and the reference's :math:`n`. Texts are normalized as for ``exact_match`` and split
    at white space, and into characters in scripts without spaces. Two empty texts have 1, an
    empty and another 0.

    References:
        `SQuAD: 100,000+ Questions for Machine Comprehension of Text
        <https://aclanthology.org/D16-1264>`_, 2016, and its evaluation script (empty texts as in
        version 2.0); characters as in `MLQA: Evaluating Cross-lingual Extractive Question
        Answering <https://aclanthology.org/2020.acl-main.653>`_, 2020.
    """
    tokens = _tokens(prediction)
    return max((_f1(tokens, _tokens(reference)) for reference in references), default=None)


def _tokens(text: str) -> list[str]:
    return split_spaceless(normalized(text))


def _f1(prediction: list[str], reference: list[str]) -> float:
    if not prediction or not reference:
        return float(prediction == reference)
    common = (Counter(prediction) & Counter(reference)).total()
    if common == 0:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return 2 * precision * recall / (precision + recall)
