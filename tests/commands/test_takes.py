"""The table of what a plan takes, as a user sees it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from adakd.commands.takes import _cost, takes, takes_table
from adakd.config.loading import load_suite
from adakd.errors import AdakdError
from adakd.execution.needs import STUDENTS
from adakd.planning import plan
from adakd.store import Store


def said(found: Any) -> str:
    console = Console(width=160, no_color=True)
    with console.capture() as captured:
        console.print(takes_table(found))
    return " ".join(captured.get().split())


def test_a_large_suite_is_told_in_hours_with_and_without_an_engine() -> None:
    planned = plan(load_suite("paper/table1-qwen2"))
    text = said(takes(planned, price=2.0))
    assert "713 k answers" in text
    assert "one H100, assumed" in text
    assert "batches continuous" in text
    assert "at 2 an hour" in text
    assert "assumed" in text


def test_a_small_suite_gets_no_guess_of_its_time(make_suite: Callable[..., Any]) -> None:
    found = takes(plan(make_suite({})))
    assert not found.times
    assert "Time: run it once, or give --speed or --like" in said(found)


def test_the_speed_of_a_run_counts_and_a_stated_one_before_it(finished_run: Path) -> None:
    planned = plan(Store(finished_run).suite())
    assert set(takes(planned, run=finished_run).times) == {"time, as in the run"}
    found = takes(planned, run=finished_run, speed="900,300")
    assert set(found.times) == {"time"}
    assert all(seconds is not None for seconds in found.times["time"])


def test_a_folder_without_records_tells_no_time(
    make_suite: Callable[..., Any], tmp_path: Path
) -> None:
    planned, before = plan(make_suite({})), [*tmp_path.iterdir()]
    for folder in (tmp_path, tmp_path / "missing"):
        assert not takes(planned, run=folder).times
    assert [*tmp_path.iterdir()] == before


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_what_is_no_price_is_refused(make_suite: Callable[..., Any], price: float) -> None:
    with pytest.raises(AdakdError, match="--price"):
        takes(plan(make_suite({})), price=price)


def test_devices_share_the_time_of_a_training_and_not_its_cost(
    make_suite: Callable[..., Any],
) -> None:
    parts = {"training.gradient_accumulation": 2}
    one, two = (
        takes(plan(make_suite({**parts, "training.devices": n})), speed="9,1e-9", price=1)
        for n in (1, 2)
    )
    place = [need.stage for need in one.needs].index(STUDENTS)
    alone, shared = (list(found.times["time"]) for found in (one, two))
    assert shared[place] == pytest.approx((alone[place] or 0) / 2)
    assert [*shared[:place], *shared[place + 1 :]] == [*alone[:place], *alone[place + 1 :]]
    assert one.needs[place].memory == two.needs[place].memory
    costs = [_cost(found.needs, found.times["time"], 1.0) for found in (one, two)]
    assert costs[0] == costs[1]
    assert "Devices that share a training have that memory each" in said(two)


@pytest.mark.parametrize("cache", ["off", "fp16"])
def test_sharding_divides_the_memory_of_a_training_alone(
    make_suite: Callable[..., Any], cache: str
) -> None:
    shared = {"training.gradient_accumulation": 4, "training.devices": 4, "teacher.cache": cache}
    whole, spread = (
        takes(plan(make_suite({**shared, "training.shard": shard}))).needs
        for shard in (False, True)
    )
    for one, other in zip(whole, spread, strict=True):
        assert one.memory is not None or one.stage.startswith("judge")
        parts = 4 if one.stage == STUDENTS else 1
        assert other.memory == (one.memory and one.memory / parts)
