"""AdaKD's token selection, and the validation of its nested settings."""

from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adakd.adaptive import AdaKD, TokenSelection, adaptive, indicator
from adakd.errors import AdakdError, UnknownName
from adakd.registry import Spec


def method(**settings: Any) -> AdaKD:
    built: AdaKD = adaptive.build(Spec(name="adakd", **settings))
    return built


def selection_of(scores: list[float], ratio: float) -> TokenSelection:
    """Return the selection for given scores."""
    return method(focus={"name": "fixed", "ratio": ratio}).select(torch.tensor(scores))


@pytest.mark.parametrize(
    ("ratio", "positions"),
    [(1.0, [0, 1, 2, 3, 4]), (0.5, [1, 3]), (0.61, [1, 3, 4]), (0.01, [3])],
)
def test_the_hardest_are_selected_in_order(ratio: float, positions: list[int]) -> None:
    selection = selection_of([1, 4, 2, 5, 3], ratio)
    assert selection.positions.tolist() == positions
    assert selection.score.tolist() == [1, 4, 2, 5, 3]
    assert selection.weight is None


def test_among_equals_the_first_are_selected() -> None:
    assert selection_of([1, 1, 2, 1, 1, 1], 0.5).positions.tolist() == [0, 1, 2]


def test_temperatures_depend_on_the_selected_tokens_only() -> None:
    tau = selection_of([1, 4, 2, 8, 0], 0.6).temperature
    assert tau is not None
    # Selected are 4, 2 and 8: the median is 4.
    torch.testing.assert_close(tau, torch.tensor([0.0, 0.3, -0.3]).exp())


def test_each_piece_can_be_replaced_or_off() -> None:
    pieces = AdaKD(
        indicator=Spec(name="entropy"),
        focus=Spec(name="cosine", end=0.5),
        temperature=Spec(name="fixed"),
    )
    assert pieces.indicator is indicator["entropy"]
    logits = torch.randn(4, 5).log_softmax(-1)
    scores = pieces.score(logits, logits, torch.zeros(4, dtype=torch.long))
    assert pieces.select(scores).temperature is None


def test_settings_are_filled_in_so_that_equal_specs_look_equal() -> None:
    short = adaptive.resolve(Spec(name="adakd", focus="latf"))
    assert short == adaptive.resolve(Spec(name="adakd", focus={"name": "latf", "beta": 0.99}))
    assert short == adaptive.resolve(Spec(name="adakd"))
    assert short["focus"].settings["warmup"] == 0.05


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"indicator": "helinger"}, UnknownName, "unknown indicator .*did you mean 'hellinger'"),
        ({"focus": {"name": "latf", "bta": 1}}, AdakdError, "takes no 'bta'.*'beta'"),
        ({"temperature": {"name": "idts", "base": 0}}, AdakdError, "'idts', base"),
        ({"focus": 3}, AdakdError, "'adakd', focus"),
        ({"focuss": "latf"}, AdakdError, "takes no 'focuss'.*'focus'"),
        ({"scope": "batch"}, AdakdError, "'adakd', scope"),
        (
            {"scope": "step", "temperature": {"name": "idts", "detach": False}},
            AdakdError,
            "'adakd', scope: step.*idts.*set detach: true or scope: micro_batch",
        ),
    ],
)
def test_a_mistake_within_is_found_before_anything_runs(
    settings: dict[str, Any], error: type[AdakdError], message: str
) -> None:
    with pytest.raises(error, match=message):
        adaptive.resolve(Spec(name="adakd", **settings))


def test_the_scope_is_a_setting_and_by_default_the_reference_implementations() -> None:
    assert method().scope == "micro_batch"
    assert method(scope="step").scope == "step"
    assert adaptive.resolve(Spec(name="adakd"))["scope"] == "micro_batch"


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.floats(0.05, 1), st.randoms())
def test_the_parts_of_a_selection_are_the_selection(sizes: list[int], ratio: float, chance) -> None:
    """Cut anywhere, in empty parts too, nothing is lost, moved or counted twice."""
    scores = torch.tensor([float(chance.randint(0, 9)) for _ in range(sum(sizes))])
    if not len(scores):
        return
    whole = method(focus={"name": "fixed", "ratio": ratio}).select(scores)
    whole = replace(whole, weight=whole.positions * 2.0)
    ends = list(accumulate(sizes, initial=0))
    parts = [whole.part(*at) for at in pairwise(ends)]
    places = [part.positions + start for part, start in zip(parts, ends, strict=False)]
    assert torch.equal(torch.cat(places), whole.positions)
    assert all(len(part.score) == size for part, size in zip(parts, sizes, strict=True))
    for name in ("score", "temperature", "weight"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_state_goes_round() -> None:
    first, second = method(), method()
    for each in (first, second):
        each.begin(4)
    for loss in (10.0, 1.0, 0.1):
        first.update(loss)
    second.load_state_dict(first.state_dict())
    first.update(0.01)
    second.update(0.01)
    assert second.state_dict() == first.state_dict()
