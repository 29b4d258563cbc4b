"""Conclusions about differences, and the least p-value of signs."""

import numpy as np

from adakd.stats import conclusion, paired_difference, sign_flip_floor


def test_conclusion_follows_the_direction_of_the_metric():
    difference = paired_difference(np.full((30, 3), 1.0), np.zeros((30, 3)))
    assert conclusion(difference, 0.01) == "better"
    assert conclusion(difference, 0.01, higher_is_better=False) == "worse"
    assert conclusion(difference, 0.05) == "not separable"


def test_sign_flip_floor():
    assert [sign_flip_floor(k) for k in (1, 3, 5, 6)] == [1, 0.25, 0.0625, 0.03125]
