"""Conclusions about differences, and adjusted p-values."""

import numpy as np
import pytest

from adakd.stats import conclusion, holm, paired_difference, sign_flip_floor


def test_conclusion_follows_the_direction_of_the_metric():
    difference = paired_difference(np.full((30, 3), 1.0), np.zeros((30, 3)))
    assert conclusion(difference, 0.01) == "better"
    assert conclusion(difference, 0.01, higher_is_better=False) == "worse"
    assert conclusion(difference, 0.05) == "not separable"


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1, 1]
    assert holm([]) == []


def test_sign_flip_floor():
    assert [sign_flip_floor(k) for k in (1, 3, 5, 6)] == [1, 0.25, 0.0625, 0.03125]
