"""Kendall's tau and the pairs behind it, by hand."""

from itertools import permutations

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


@pytest.mark.parametrize("students", [2, 3, 4, 5])
def test_the_p_value_is_the_share_of_orders_that_agree_or_disagree_as_much(students) -> None:
    """Exact: over all orders, and below the level as often as the level says at most."""
    theirs = list(range(students))
    orders = list(permutations(range(students)))
    found = {order: order_agreement(order, theirs) for order in orders}
    for one in found.values():
        as_far = [abs(other.tau) >= abs(one.tau) - 1e-9 for other in found.values()]
        assert one.p_value == pytest.approx(sum(as_far) / len(orders))
    assert min(one.p_value for one in found.values()) == pytest.approx(found[orders[0]].least_p)


def test_a_tie_is_no_order() -> None:
    """Of three pairs ours ties one; the others agree: tau-b is 2 / sqrt(2 * 3)."""
    found = order_agreement([1, 1, 2], [1, 2, 3])
    assert (found.pairs, found.differing) == (2, ())
    assert found.tau == pytest.approx(2 / 6**0.5)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1], [2]), ([1, 1], [1, 2])])
def test_without_an_order_there_is_no_agreement(ours, theirs) -> None:
    found = order_agreement(ours, theirs)
    assert found.tau is found.p_value is None
