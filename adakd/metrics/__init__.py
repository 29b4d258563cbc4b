"""Metrics of generated answers: one value an item, given its references.

Importing this package imports neither torch nor a stemmer: a suite is checked without them.
"""

from adakd.metrics.base import Display, Metric, metric
from adakd.metrics.exact_match import exact_match
from adakd.metrics.rouge_l import rouge_l
from adakd.metrics.rouge_l_unicode import rouge_l_unicode
from adakd.metrics.token_f1 import token_f1

__all__ = [
    "Display",
    "Metric",
    "exact_match",
    "metric",
    "rouge_l",
    "rouge_l_unicode",
    "token_f1",
]
