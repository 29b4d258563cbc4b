"""How tables show the metrics of lm-eval tasks, which say nothing about their range."""

from collections.abc import Iterable

from adakd.metrics.base import Display

CHOICE = "acc_norm"
"""The metric of multiple-choice tasks made of a set: accuracy by likelihood per byte, since
references differ in length."""
CHOICE_DISPLAY = Display("accuracy", 100.0)
_TITLES = {"acc": "accuracy"}
_SHARES = {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"}
_NO_SHARES = {"bleu", "chrf", "mcc", "likelihood"}
"""Higher is better, and a value in [0, 1] is chance: these have another range."""


def lm_eval_title(metric: str) -> str:
    """Return what tables call a metric of an lm-eval task."""
    return _TITLES.get(metric, metric)


def lm_eval_display(metric: str, higher_is_better: bool, values: Iterable[float]) -> Display:
    """Return how a metric of an lm-eval task is shown: shares times 100, all else as it is.

    A metric of which nothing is known is taken for a share if higher is better and all of its
    values lie in [0, 1].
    """
    is_share = metric in _SHARES or (
        higher_is_better and metric not in _NO_SHARES and all(0 <= value <= 1 for value in values)
    )
    return Display(lm_eval_title(metric), 100.0 if is_share else 1.0, higher_is_better)
