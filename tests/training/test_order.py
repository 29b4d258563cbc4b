"""The order of the rows: the steps by chance, in each the rows of one length together."""

from hypothesis import given
from hypothesis import strategies as st

from adakd.training.encoding import ByLength


def rows(lengths: list[int]) -> list[dict[str, list[int]]]:
    return [{"input_ids": [7] * length, "labels": [7] * length} for length in lengths]


def parts(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


LENGTHS = [1 + 37 * n % 101 for n in range(250)]


@given(st.lists(st.integers(1, 9), min_size=1), st.integers(1, 5))
def test_an_epoch_takes_every_row_once(lengths: list[int], step: int) -> None:
    order = ByLength(rows(lengths), step, seed=1)
    assert sorted(order) == list(range(len(lengths))) == list(range(len(order)))


def test_seed_and_epoch_decide_the_order() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        made = ByLength(rows(LENGTHS), 8, seed)
        made.set_epoch(epoch)
        return list(made)

    assert order(1, 0) == order(1, 0)
    orders = [order(1, 0), order(1, 1), order(2, 0), order(2, 1)]
    assert all(one != other for i, one in enumerate(orders) for other in orders[:i])


@given(st.integers(1, 60), st.integers(0, 9))
def test_lengths_change_no_steps_rows(step: int, seed: int) -> None:
    alike = parts(list(ByLength(rows([1] * 250), step, seed)), step)
    sized = parts(list(ByLength(rows(LENGTHS), step, seed)), step)
    assert [set(one) for one in alike] == [set(other) for other in sized]


def test_micro_batches_pad_less() -> None:
    def padded(batch: int) -> int:
        batches = parts(list(ByLength(rows(LENGTHS), 32, seed=1)), batch)
        return sum(max(LENGTHS[row] for row in batch) * len(batch) for batch in batches)

    assert padded(32) > 1.8 * sum(LENGTHS)
    assert padded(8) < 1.3 * sum(LENGTHS)
