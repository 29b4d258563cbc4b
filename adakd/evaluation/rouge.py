"""ROUGE-L as the paper reports it."""

from collections.abc import Sequence
from functools import cache

from rouge_score.rouge_scorer import RougeScorer


@cache
def _scorer() -> RougeScorer:
    return RougeScorer(["rougeL"], use_stemmer=True)


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """Return the ROUGE-L F-measure in [0, 1], with stemming, the maximum over references.

    References:
        `ROUGE: A Package for Automatic Evaluation of Summaries
        <https://aclanthology.org/W04-1013>`_, 2004; computed by the package rouge-score.
    """
    return max(
        float(_scorer().score(reference, prediction)["rougeL"].fmeasure) for reference in references
    )
