"""Exact match, as SQuAD defines it."""

from collections.abc import Sequence

from adakd.metrics.base import metric
from adakd.metrics.tokens import normalized


@metric("exact_match", title="exact match", scale=100)
def exact_match(prediction: str, references: Sequence[str]) -> float | None:
    r"""Whether the answer equals a reference after normalization: 1 or 0.

    .. math:: EM = \max_r \mathbb{1}[N(\text{prediction}) = N(r)]

    :math:`N` lower-cases, removes punctuation (ASCII and Unicode) and the articles a, an and the,
    and joins what is left by single spaces.

    References:
        `SQuAD: 100,000+ Questions for Machine Comprehension of Text
        <https://aclanthology.org/D16-1264>`_, 2016, and its evaluation script; punctuation as in
        `MLQA: Evaluating Cross-lingual Extractive Question Answering
        <https://aclanthology.org/2020.acl-main.653>`_, 2020.
    """
    answer = normalized(prediction)
    return max((float(answer == normalized(one)) for one in references), default=None)
