"""The largest values of rows: against PyTorch's own order and derivative."""

import numpy as np
import pytest
import torch
from torch import Tensor

from adakd.bridges import sorting
from adakd.bridges.sorting import largest, matched, taken


def rows(kind: str, count: int) -> Tensor:
    made = torch.randn(3, count, generator=torch.Generator().manual_seed(count))
    if kind == "16 bits":
        return made.bfloat16().float()
    if kind == "rising":
        return made.sort(-1).values
    if kind == "one part":
        made[:, : count // 2] += 9
    if kind == "strided":
        return made.repeat(1, 2)[:, ::2]
    if kind == "extreme":
        made[:, ::3], made[:, 1::7], made[:, 2::7] = -torch.inf, 0.0, -0.0
        made[:, 3::7] *= 1e-42  # subnormal
    return made


@pytest.mark.parametrize("width", [0, 1, 40, 900, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["32 bits", "16 bits", "rising", "one part", "strided", "extreme"])
def test_the_largest_values_are_those_of_topk(
    kind: str, dtype: torch.dtype, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorting, "SAMPLE", 50)
    given = rows(kind, 1000).to(dtype)
    found = largest(given, width)
    assert torch.equal(given.gather(-1, found), given.topk(width, -1).values)
    assert all(len(set(row)) == width for row in found.tolist())


def test_a_sample_that_is_unlike_its_row_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second value is large, and the sample has these alone: fewer than are wanted."""
    monkeypatch.setattr(sorting, "SAMPLE", 500)
    given = rows("32 bits", 1000)
    given[:, ::2] += 100
    for width in (100, 501, 700):
        assert torch.equal(given.gather(-1, largest(given, width)), given.topk(width, -1).values)


def test_matched_entries_come_first_and_the_likeliest_others_behind() -> None:
    given = torch.tensor([[0.1, 0.4, 0.2, 0.3, 0.5], [0.5, 0.1, 0.2, 0.4, 0.3]])
    found = matched(given, np.array([3, 1]), np.array([0, 2, 4]), 2)
    assert found.tolist() == [[3, 1, 4, 2], [3, 1, 0, 4]]


def test_the_derivative_of_what_is_taken_is_that_of_a_gather() -> None:
    given = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    places = torch.tensor([[5, 0, 3], [1, 2, 4]])
    assert torch.autograd.gradcheck(lambda values: taken(values, places), given)
    assert torch.equal(taken(given, places), given.gather(-1, places))
