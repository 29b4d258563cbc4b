"""Differences of methods that share items but no training."""

import numpy as np
import pytest

from adakd.stats import unpaired_difference
from adakd.stats.bootstrap import Array


def scores(rng: np.random.Generator, items: Array, trainings: int, mean: float) -> Array:
    """Return items x trainings: each item, training and score by chance."""
    effects = rng.normal(0, 1.0, trainings)
    noise = rng.normal(0, 4.0, (len(items), trainings))
    found: Array = mean + items[:, None] + effects + noise
    return found


@pytest.mark.parametrize("trainings", [(3, 3), (5, 2), (1, 5), (4, 1)], ids=str)
def test_the_interval_holds_the_true_difference(trainings: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        items = rng.normal(0, 10.0, 60)
        on, off = (
            scores(rng, items, n, mean) for n, mean in zip(trainings, (2.0, 1.0), strict=True)
        )
        found = unpaired_difference([(on, off)])
        held += found.low <= 1.0 <= found.high
    assert held / 400 >= 0.93


def test_it_is_the_difference_of_the_means_over_sets() -> None:
    rng = np.random.default_rng(2)
    sets = [(rng.normal(size=(5, 2)), rng.normal(size=(5, 3))) for _ in range(2)]
    found = unpaired_difference(sets)
    assert found.estimate == pytest.approx(np.mean([on.mean() - off.mean() for on, off in sets]))
    turned = unpaired_difference([(off, on) for on, off in sets])
    assert (turned.estimate, turned.low, turned.high) == pytest.approx(
        (-found.estimate, -found.high, -found.low)
    )
    assert (found.trainings, turned.trainings, found.items) == ((2, 3), (3, 2), 10)


def test_more_trainings_narrow_the_interval_and_their_order_is_nothing() -> None:
    rng = np.random.default_rng(3)
    items = rng.normal(0, 1, 200)
    on, off = scores(rng, items, 8, 0), scores(rng, items, 8, 0)
    wide, narrow = unpaired_difference([(on[:, :2], off[:, :2])]), unpaired_difference([(on, off)])
    assert narrow.high - narrow.low < wide.high - wide.low
    mixed = unpaired_difference([(on[:, ::-1], off)])
    assert (mixed.low, mixed.high) == pytest.approx((narrow.low, narrow.high))


def test_with_one_training_each_the_interval_is_that_of_the_items() -> None:
    on, off = np.arange(6.0)[:, None] ** 2, np.arange(6.0)[:, None]
    found = unpaired_difference([(on, off)])
    apart = (on - off).ravel()
    assert found.high - found.estimate == pytest.approx(
        2.570582 * apart.std(ddof=1) / 6**0.5, rel=1e-5
    )


def test_without_variation_there_is_no_interval() -> None:
    found = unpaired_difference([(np.ones((4, 2)), np.zeros((4, 1)))])
    assert found.estimate == 1
    assert not found.is_known


def test_items_of_one_side_alone_are_left_out() -> None:
    on = np.array([[1.0, 2.0], [3.0, np.nan], [np.nan, np.nan]])
    off = np.array([[0.0], [1.0], [5.0]])
    found = unpaired_difference([(on, off)])
    assert (found.estimate, found.items) == (pytest.approx(1.75), 2)
    with pytest.raises(ValueError, match="no item"):
        unpaired_difference([(on[2:], off[2:])])
