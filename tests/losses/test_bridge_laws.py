"""The laws for every registered bridge, and for each law bridges that violate it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adakd.bridges import Bridge, Side, bridge
from adakd.losses.bridge_laws import BRIDGE_LAWS, check_bridge
from adakd.registry import Spec

Array = np.ndarray[Any, Any]


SETTINGS = (*({"name": name} for name in bridge), {"name": "x_token", "form": "hybrid"})


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda of: "-".join(of.values()))
def test_registered_bridges_keep_every_law(settings: dict[str, Any]) -> None:
    results = check_bridge(partial(bridge.build, Spec(**settings)))
    assert [result.name for result in results] == [law.__name__ for law in BRIDGE_LAWS]
    assert [result for result in results if not result.ok] == []


def test_similar_units_pair_texts_that_differ_and_keep_all_other_laws() -> None:
    results = check_bridge(partial(bridge.build, Spec(name="x_token", units="similar")))
    assert [result.name for result in results if not result.ok] == ["nothing_in_common"]


def test_the_rows_of_the_base_class_keep_every_law() -> None:
    assert [result for result in check_bridge(Bridge) if not result.ok] == []


class ByNumber(Bridge):
    """Aligns tokens by their number, whatever their text."""

    def align(self, student: Array, teacher: Array) -> Array:
        count = np.arange(min(len(student), len(teacher)))
        return np.stack([count, count + 1, count, count + 1], 1).astype(np.int64)


class Counting(Bridge):
    """Drops a unit from the second call on."""

    calls = 0

    def align(self, student: Array, teacher: Array) -> Array:
        self.calls += 1
        return super().align(student, teacher)[self.calls > 3 :]


class Endless(Bridge):
    """Has no end tokens."""

    def align(self, student: Array, teacher: Array) -> Array:
        units = super().align(student, teacher)
        return units[student[units[:, 0]] != self.student.end]


class TooMuch(Bridge):
    """Rows of logits, which sum to whatever they do."""

    def rows(self, student: Side, teacher: Side) -> tuple[Tensor, Tensor]:
        return student.logits[student.first][:, :3] + 9, teacher.logits[teacher.first][:, :3]


class OfTheGroup(Bridge):
    """Rows that the other units of a group move."""

    def rows(self, student: Side, teacher: Side) -> tuple[Tensor, Tensor]:
        ours, theirs = super().rows(student, teacher)
        return (ours + ours.mean(0)).log_softmax(-1), theirs


class Detached(Bridge):
    """Rows whose gradient is that of half the logits."""

    def rows(self, student: Side, teacher: Side) -> tuple[Tensor, Tensor]:
        ours, theirs = super().rows(student, teacher)
        return (ours + ours.detach()) / 2, theirs


class Lopsided(Bridge):
    """A student's row that is not the teacher's for the same logits."""

    def rows(self, student: Side, teacher: Side) -> tuple[Tensor, Tensor]:
        ours, theirs = super().rows(student, teacher)
        return (2 * ours).log_softmax(-1), theirs


class Naive(Bridge):
    """Logarithms of probabilities that may be 0."""

    def rows(self, student: Side, teacher: Side) -> tuple[Tensor, Tensor]:
        ours, theirs = super().rows(student, teacher)
        return ours.exp().log(), theirs.exp().log()


class FilledUp(Bridge):
    """An entry that the student alone can never have."""

    def rows(self, student: Side, teacher: Side) -> tuple[Tensor, Tensor]:
        ours, theirs = super().rows(student, teacher)
        return torch.cat([ours, ours[:, :1] - 1e9], -1), torch.cat([theirs, theirs[:, :1]], -1)


class Everything(Bridge):
    """One unit, whatever the texts."""

    def align(self, student: Array, teacher: Array) -> Array:
        return np.array([[0, len(student), 0, len(teacher)]])


@pytest.mark.parametrize(
    ("law", "violator"),
    [
        ("same_text", ByNumber),
        ("pure_alignment", Counting),
        ("nothing_in_common", Everything),
        ("ends_meet", Endless),
        ("distributions", TooMuch),
        ("independent", OfTheGroup),
        ("any_split", OfTheGroup),
        ("true_gradient", Detached),
        ("bounded", FilledUp),
        ("one_tokenizer", Lopsided),
        ("underflow", Naive),
    ],
)
def test_a_violated_law_says_so(law: str, violator: Callable[[], Bridge]) -> None:
    broken = {result.name: result.detail for result in check_bridge(violator) if not result.ok}
    assert law in broken
    assert not broken[law].startswith(("TypeError", "NameError", "AttributeError"))
