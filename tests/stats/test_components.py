"""Variance components, against the textbook's analysis of variance."""

import numpy as np
import pytest

from adakd.stats.components import Components, error_law, mean_of, observations


def test_components_of_a_balanced_table_by_hand():
    rng = np.random.default_rng(1)
    n, s = 30, 4
    table = rng.normal(size=(n, 1)) + rng.normal(size=(1, s)) + rng.normal(size=(n, s))
    part = Components.of(*observations(table))
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    assert part.estimate == pytest.approx(table.mean())
    assert part.shared == pytest.approx((rest**2).sum() / ((n - 1) * (s - 1)) / (n * s))
    law = error_law([part])
    assert law.items == pytest.approx(table.mean(1).std(ddof=1) / np.sqrt(n))
    assert law.seeds == pytest.approx(table.mean(0).std(ddof=1) / np.sqrt(s))
    assert law.seeds_df == s - 1


def test_one_seed_has_items_alone():
    law = error_law([Components.of(*observations(np.random.default_rng(2).normal(size=(40, 1))))])
    assert (law.seeds, law.seeds_df, law.shared) == (0, 0, 0)


def test_missing_observations_have_no_weight():
    table = np.arange(12.0).reshape(6, 2)
    table[0, 0] = np.nan
    part = Components.of(*observations(table))
    assert part.estimate == pytest.approx(np.nanmean(table))
    assert part.by_item.sum() == pytest.approx(0)
    assert part.by_seed.sum() == pytest.approx(0)


def test_sets_weigh_equally():
    small, large = (
        Components.of(*observations(np.random.default_rng(n).normal(n, 1, (n, 2)))) for n in (5, 50)
    )
    both = mean_of([small, large])
    assert both.estimate == pytest.approx((small.estimate + large.estimate) / 2)
    assert len(both.by_item) == 55
    alone = [error_law([one]).items for one in (small, large)]
    assert error_law([small, large]).items == pytest.approx(np.hypot(*alone) / 2)
