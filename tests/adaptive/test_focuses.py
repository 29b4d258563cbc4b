"""The share of selected tokens, step by step."""

import json

import pytest

from adakd.adaptive import Focus, focus
from adakd.errors import AdakdError
from adakd.registry import Spec


def build(name: str, total_steps: int, **settings: float) -> Focus:
    part: Focus = focus.build(Spec(name=name, **settings))
    part.begin(total_steps)
    return part


def ratios(part: Focus, losses: list[float]) -> list[float]:
    seen = []
    for loss in losses:
        part.update(loss)
        seen.append(part.ratio)
    return seen


def test_latf_by_hand() -> None:
    part = build("latf", 9, warmup=0, beta=0, eps=0.1, delta=0.5, floor=0.3)
    assert part.ratio == 1
    #        reference, near, falls, same, falls to the floor, rises, rises, to the top
    losses = [10, 9.1, 8.9, 8.9, 8.0, 9.0, 20.0, 40.0]
    assert ratios(part, losses) == pytest.approx([1, 1, 0.5, 0.5, 0.3, 0.45, 0.675, 1])


def test_latf_keeps_all_tokens_through_its_warm_up() -> None:
    part = build("latf", 10, warmup=0.25, beta=0, eps=0.1, delta=0.5)
    # Beyond 2.5: the third step sets the reference, the fourth falls from it.
    assert ratios(part, [100, 50, 10, 5]) == [1, 1, 1, 0.5]


@pytest.mark.parametrize(
    ("warmup", "total", "reference"),
    [(0.05, 30, 2), (0.05, 110, 6), (0.05, 350, 18), (0.05, 20, 2), (0.29, 100, 30), (0, 9, 1)],
)
def test_latf_starts_at_the_first_step_beyond_its_warm_up(
    warmup: float, total: int, reference: int
) -> None:
    """Of 30 steps 5 % are 1.5: the second one sets the reference."""
    part = build("latf", total, warmup=warmup, beta=0, eps=0.1, delta=0.5)
    seen = ratios(part, [2.0**-step for step in range(reference + 1)])
    assert seen == [1] * reference + [0.5]


def test_latf_averages() -> None:
    part = build("latf", 1, beta=0.9)
    ratios(part, [10, 20])
    assert part.state_dict()["ema"] == pytest.approx(11)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", [1, 0.875, 0.75, 0.625, 0.5, 0.5]),
        ("cosine", [1, 0.9268, 0.75, 0.5732, 0.5, 0.5]),
    ],
)
def test_schedules(name: str, expected: list[float]) -> None:
    part = build(name, 4, end=0.5)
    assert [part.ratio, *ratios(part, [1, 2, 3, 4, 5])] == pytest.approx(expected, abs=1e-4)


def test_fixed() -> None:
    assert ratios(build("fixed", 3, ratio=0.75), [3, 2, 1]) == [0.75, 0.75, 0.75]


@pytest.mark.parametrize("name", focus)
def test_a_resumed_run_goes_on_as_if_unbroken(name: str) -> None:
    losses = [10 / (step + 1) for step in range(20)]
    whole, first, second = (build(name, 20) for _ in range(3))
    seen = ratios(first, losses[:8])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert seen + ratios(second, losses[8:]) == ratios(whole, losses)


def test_a_ratio_of_nothing_is_refused() -> None:
    with pytest.raises(AdakdError, match="ratio"):
        focus.resolve(Spec(name="fixed", ratio=0))
