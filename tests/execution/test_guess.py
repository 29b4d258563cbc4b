"""Guesses of times: against the times of published runs, and how they grow."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adakd.config.loading import load_suite
from adakd.execution import probe
from adakd.execution.guess import Guess, Processor
from adakd.execution.needs import Sizes
from adakd.execution.speeds import Rates, Work
from adakd.planning import Plan, plan
from adakd.store import Store

REPORTS = Path(__file__).parents[2] / "reports"
CORE = Processor({"float32": 100e9, "bf16": 105e9, "fp16": 50e9}, call=3.1e-6)
"""A core of the machine that the published runs were made on, as the probe measures it."""


def all_of(planned: Plan) -> Work:
    return Work.of(planned, [one for one in planned.assignments if one.training], planned.jobs)


@pytest.mark.parametrize("name", ["ablation-mini", "egad-sensitivity"])
def test_published_runs_took_what_is_guessed_within_a_factor_of_two(name: str) -> None:
    planned = plan(load_suite(name))
    guess, rates = Guess(Sizes.of(planned), CORE), Rates(Store(REPORTS / name))
    for guessed, took in (
        (all_of(planned).seconds(guess), all_of(planned).seconds(rates)),
        (guess.step("sft"), rates.step("sft")),
        (guess.step("distilled"), rates.step("distilled")),
        (guess.score("puzzles"), rates.score("puzzles")),
    ):
        assert guessed is not None
        assert took is not None
        assert 0.5 < guessed / took < 2


def test_a_processor_of_half_the_speed_takes_twice_as_long(make_suite: Callable[..., Any]) -> None:
    planned = plan(make_suite({"evaluation.choices": [{"set": "puzzles", "limit": 2}]}))
    half = {name: speed / 2 for name, speed in CORE.operations.items()}
    times = [
        all_of(planned).seconds(Guess(Sizes.of(planned), processor))
        for processor in (CORE, Processor(half, 2 * CORE.call))
    ]
    assert times[0]
    assert times[1] == pytest.approx(2 * times[0])


def test_responses_in_training_and_more_layers_take_longer(make_suite: Callable[..., Any]) -> None:
    """A teacher whose model is larger, and a policy that has the student write."""
    of = {"training.steps": 4, "controls.sft": False}
    plain = Sizes.of(plan(make_suite(of)))
    student, teacher = plain.student, plain.teacher
    assert student is not None
    assert teacher is not None
    deeper = replace(plain, student=replace(student, layers=student.layers + 2))
    written = [{"divergence": "reverse_kl", "policy": "on_policy"}]
    own = Sizes.of(plan(make_suite(of | {"divergences": written})))
    base, deep, writes = (Guess(one, CORE).step("distilled") for one in (plain, deeper, own))
    assert base is not None
    assert deep is not None
    assert writes is not None
    assert deep > base
    assert writes > base


def test_what_only_the_hub_knows_is_not_guessed(make_suite: Callable[..., Any]) -> None:
    hub = {"kind": "hub", "id": "owner/rows"}
    far = {"data.train": hub, "evaluation.sets": {"far": hub}, "evaluation.choices": []}
    sizes = Sizes.of(plan(make_suite(far)))
    guess = Guess(sizes, CORE)
    assert (guess.step("distilled"), guess.score("far")) == (None, None)


def test_the_probe_measures_this_processor(
    make_suite: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.001)
    planned = plan(make_suite())
    monkeypatch.setattr(probe, "device", lambda: torch.device("cpu"))
    guess = probe.guessed(planned)
    assert guess is not None
    seconds = all_of(planned).seconds(guess)
    assert seconds is not None
    assert 1e-3 < seconds < 1e5
    monkeypatch.setattr(probe, "device", lambda: torch.device("meta"))
    assert probe.guessed(planned) is None
