"""How metrics of lm-eval tasks are shown."""

import pytest

from adakd.metrics import Display
from adakd.metrics.lm_eval import lm_eval_display


@pytest.mark.parametrize("values", [[0, 1, 0.5], [], [1.0]])
def test_a_known_share_is_one_whatever_its_values(values: list[float]) -> None:
    assert lm_eval_display("acc", True, values) == Display("accuracy", 100)
    assert lm_eval_display("acc_norm", True, values) == Display("acc_norm", 100)


@pytest.mark.parametrize("metric", ["perplexity", "word_perplexity", "bits_per_byte"])
def test_where_lower_is_better_nothing_is_scaled(metric: str) -> None:
    assert lm_eval_display(metric, False, [0.5]) == Display(metric, 1, higher_is_better=False)


def test_a_known_other_range_is_not_taken_for_shares() -> None:
    assert lm_eval_display("bleu", True, [0.4]).scale == 1


def test_an_unknown_metric_is_a_share_if_all_of_its_values_could_be() -> None:
    assert lm_eval_display("mine", True, [0, 0.4, 1]).scale == 100
    assert lm_eval_display("mine", True, [0, 0.4, 1.5]).scale == 1
