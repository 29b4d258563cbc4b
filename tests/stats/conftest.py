"""A made-up judge whose true preferences are known."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.special import expit

from adakd.stats import PairResult


@dataclass(frozen=True)
class Judge:
    """How answers differ, and what a judge makes of it; all in log-odds but for the lengths."""

    better: float = 0.3
    """Of the candidate, for prompts and trainings on average."""
    of_prompts: float = 0.8
    of_seeds: float = 0.0
    rest: float = 0.5
    place: float = 0.6
    """For the answer that is shown first."""
    length: float = 0.6
    """For a candidate longer by one standard deviation or so."""
    longer: float = 15.0
    """Words of the candidate's answer beyond the opponent's, on average."""

    def pairs(self, rng: np.random.Generator, prompts: int, seeds: int = 1) -> list[PairResult]:
        """Judge so many prompts for so many trainings, crossed; three calls in 100 fail."""
        shape = (prompts, seeds)
        of_prompt = rng.normal(0, 1, (prompts, 1))
        words = np.rint(self.longer + 20 * of_prompt + rng.normal(0, 35, shape))
        merit = (
            self.better
            + self.of_prompts * rng.normal(0, 1, (prompts, 1))
            + self.of_seeds * rng.normal(0, 1, (1, seeds))
            + self.rest * rng.normal(0, 1, shape)
            + self.length * np.tanh(words / 40)
        )
        first, second = expit(merit + self.place), expit(merit - self.place)
        votes = (rng.random(shape) < first).astype(int) + (rng.random(shape) < second)
        outcomes = np.array(["loss", "flip", "win"])[votes]
        outcomes = np.where(rng.random(shape) < 0.03, "failed", outcomes)
        points = (first + second) / 2
        return [
            PairResult(*place, str(outcomes[place]), points[place], words[place])
            for place in np.ndindex(shape)
        ]

    def population(self, rng: np.random.Generator, size: int = 300_000) -> list[PairResult]:
        """Judge every prompt for a training of its own: means are those of the population."""
        spread = float(np.hypot(self.of_prompts, self.of_seeds))
        return replace(self, of_prompts=spread, of_seeds=0.0).pairs(rng, size)


@pytest.fixture(scope="session")
def judge() -> Callable[..., Judge]:
    """Return what makes a judge; the fields of `Judge` are its arguments."""
    return Judge
