"""A simulated judge with known true preferences."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.special import expit

from adakd.stats import PairResult


@dataclass(frozen=True)
class Judge:
    """A model of answers and of a judge, in log-odds except for lengths."""

    better: float = 0.3
    """Mean advantage of the candidate over prompts and trainings."""
    of_prompts: float = 0.8
    of_seeds: float = 0.0
    rest: float = 0.5
    place: float = 0.6
    """Advantage of the answer shown first."""
    length: float = 0.6
    """Advantage of a candidate that is longer by about one standard deviation."""
    longer: float = 15.0
    """Mean length difference between candidate and opponent, in words."""

    def pairs(self, rng: np.random.Generator, prompts: int, seeds: int = 1) -> list[PairResult]:
        """Judge prompts crossed with trainings; 3 % of the calls fail."""
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

    def population(self, rng: np.random.Generator, size: int = 100_000) -> list[PairResult]:
        """Judge every prompt for its own training: means are those of the population."""
        spread = float(np.hypot(self.of_prompts, self.of_seeds))
        return replace(self, of_prompts=spread, of_seeds=0.0).pairs(rng, size)


@pytest.fixture(scope="session")
def judge() -> Callable[..., Judge]:
    """Return a factory of judges; its arguments are the fields of `Judge`."""
    return Judge
