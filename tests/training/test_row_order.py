"""The order of the rows: the steps by chance, and within a step by length or by chance."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from adakd.data.example import Example
from adakd.training.row_order import RowOrder


def rows(lengths: list[int]) -> list[Example]:
    return [Example(row, [7] * length, [7] * length) for row, length in enumerate(lengths)]


def parts(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


LENGTHS = [1 + 37 * n % 101 for n in range(250)]


@given(st.lists(st.integers(1, 9), min_size=1), st.integers(1, 5), st.integers(1, 4))
def test_an_epoch_takes_every_row_once(lengths: list[int], step: int, pool: int) -> None:
    order = RowOrder(rows(lengths), step, 1, pool)
    assert sorted(order) == list(range(len(lengths))) == list(range(len(order)))


def test_seed_and_epoch_decide_the_order() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        made = RowOrder(rows(LENGTHS), 8, seed)
        made.set_epoch(epoch)
        return list(made)

    assert order(1, 0) == order(1, 0)
    orders = [order(1, 0), order(1, 1), order(2, 0), order(2, 1)]
    assert all(one != other for i, one in enumerate(orders) for other in orders[:i])


@given(st.integers(1, 60), st.integers(0, 9))
def test_lengths_change_no_steps_rows(step: int, seed: int) -> None:
    alike = parts(list(RowOrder(rows([1] * 250), step, seed)), step)
    sized = parts(list(RowOrder(rows(LENGTHS), step, seed)), step)
    assert [set(one) for one in alike] == [set(other) for other in sized]


def test_micro_batches_pad_less() -> None:
    def padded(batch: int) -> int:
        batches = parts(list(RowOrder(rows(LENGTHS), 32, seed=1)), batch)
        return sum(max(LENGTHS[row] for row in batch) * len(batch) for batch in batches)

    assert padded(32) > 1.8 * sum(LENGTHS)
    assert padded(8) < 1.3 * sum(LENGTHS)


@given(st.integers(1, 60), st.integers(0, 9), st.integers(1, 3))
def test_without_sorting_a_step_has_the_same_rows_in_random_order(
    step: int, seed: int, pool: int
) -> None:
    def steps(by_length: bool) -> list[list[int]]:
        order = RowOrder(rows(LENGTHS), step, seed, pool, by_length=by_length)
        return parts(list(order), step)

    assert [set(one) for one in steps(False)] == [set(other) for other in steps(True)]


def test_the_micro_batches_of_a_distilled_student_follow_no_length() -> None:
    """Not sorted: the mean length of a step's first half is as often the longer one."""
    order = list(RowOrder(rows(LENGTHS), 10, seed=1, by_length=False))
    longer = [
        sum(LENGTHS[row] for row in step[:5]) > sum(LENGTHS[row] for row in step[5:])
        for step in parts(order, 10)
    ]
    assert 6 <= sum(longer) <= 19
    pooled = list(RowOrder(rows(LENGTHS), 10, seed=1, pool=5, by_length=False))
    assert any(
        LENGTHS[one] > LENGTHS[other] for step in parts(pooled, 10) for one, other in pairwise(step)
    )


def test_a_pool_of_steps_pads_less_and_follows_no_length() -> None:
    pool = 5
    steps = parts(list(RowOrder(rows(LENGTHS), 8, 1, pool)), 8)
    assert [len(step) for step in steps] == [8] * 31 + [2]
    longest = [max(LENGTHS[row] for row in step) for step in steps]
    assert sum(8 * length for length in longest) < 1.3 * sum(LENGTHS)
    # Each step of a pool is somewhere in it: its longest rows do not come last, nor first.
    places = {
        longest[start : start + pool].index(max(longest[start : start + pool]))
        for start in range(0, 30, pool)
    }
    assert len(places) > 2


@given(st.integers(1, 12), st.integers(1, 9))
def test_a_pool_holds_the_rows_of_its_steps(step: int, pool: int) -> None:
    """It changes the order within, not what chance put into it."""
    size = step * pool
    alone = parts(list(RowOrder(rows([1] * 250), size, 3)), size)
    pooled = parts(list(RowOrder(rows(LENGTHS), step, 3, pool)), size)
    assert set(pooled[0]) == set(alone[0])
