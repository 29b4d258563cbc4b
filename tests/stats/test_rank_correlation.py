"""Kendall's tau and the pairs behind it, by hand."""

import pytest

from adakd.stats import order_agreement


@pytest.mark.parametrize(
    ("ours", "theirs", "tau", "differing"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0, set()),
        ([4, 3, 2, 1], [10, 20, 30, 40], -1.0, {(1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (3, 2)}),
        ([2, 1, 3, 4], [10, 20, 30, 40], (5 - 1) / 6, {(1, 0)}),
        ([1, 2, 4, 3], [10, 20, 30, 40], (5 - 1) / 6, {(3, 2)}),
    ],
)
def test_orders_without_ties(ours, theirs, tau, differing) -> None:
    found = order_agreement(ours, theirs)
    assert found.tau == pytest.approx(tau)
    assert set(found.differing) == differing
    assert found.pairs == 6


def test_a_tie_is_no_order() -> None:
    """Of three pairs ours ties one; the others agree: tau-b is 2 / sqrt(2 * 3)."""
    found = order_agreement([1, 1, 2], [1, 2, 3])
    assert (found.pairs, found.differing) == (2, ())
    assert found.tau == pytest.approx(2 / 6**0.5)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1], [2]), ([1, 1], [1, 2])])
def test_without_an_order_there_is_no_agreement(ours, theirs) -> None:
    assert order_agreement(ours, theirs).tau is None
