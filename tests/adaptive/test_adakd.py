"""AdaKD's token selection, and the validation of its nested settings."""

from typing import Any

import pytest
import torch

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
    ],
)
def test_a_mistake_within_is_found_before_anything_runs(
    settings: dict[str, Any], error: type[AdakdError], message: str
) -> None:
    with pytest.raises(error, match=message):
        adaptive.resolve(Spec(name="adakd", **settings))


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
