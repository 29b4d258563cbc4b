"""Long simulations behind the intervals of the report; short versions are among the tests.

``python tests/bench/intervals.py [NAME ...]`` prints a table for each name, all by default.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from adakd.stats import mean_ratio, median_ratio

Array = NDArray[np.float64]
RUNS = 1000


def overhead() -> Iterator[str]:
    """Step times of two arms with a true ratio of 1.10, by pairs and kinds of noise."""
    yield "pairs  noise                     coverage  width   rmse"
    for pairs in (6, 10, 20, 40):
        for noise in (
            "alike",
            "batches differ",
            "batches differ, drift",
            "batches differ, outliers",
        ):
            rng = np.random.default_rng(pairs)
            found = [median_ratio(*_times(rng, pairs, noise)) for _ in range(RUNS)]
            covered = np.mean([ratio.low <= 1.1 <= ratio.high for ratio in found])
            width = np.mean([ratio.high - ratio.low for ratio in found])
            error = np.sqrt(np.mean([(ratio.estimate - 1.1) ** 2 for ratio in found]))
            yield f"{pairs:5}  {noise:25} {covered:.3f}     {width:.3f}   {error:.3f}"
    yield "mean of five timings of ten pairs, batches differ:"
    rng = np.random.default_rng(0)
    means = [
        mean_ratio([median_ratio(*_times(rng, 10, "batches differ")) for _ in range(5)])
        for _ in range(RUNS)
    ]
    covered = np.mean([ratio.low <= 1.1 <= ratio.high for ratio in means])
    yield f"coverage {covered:.3f}, width {np.mean([r.high - r.low for r in means]):.3f}"


def _times(rng: np.random.Generator, pairs: int, noise: str) -> tuple[Array, Array]:
    """Return seconds of both arms: what a pair shares, and 3 % of each step's own."""
    shared = np.zeros(pairs)
    if "differ" in noise:
        load = rng.normal(0, 0.1)
        for pair in range(pairs):
            load = 0.9 * load + rng.normal(0, 0.044)
            shared[pair] = rng.normal(0, 0.25) + load
    if "drift" in noise:
        shared += np.linspace(0, 0.3, pairs)
    own = rng.normal(0, 0.03, (2, pairs))
    if "outliers" in noise:
        own += (rng.random((2, pairs)) < 0.1) * rng.exponential(0.5, (2, pairs))
    return 1.1 * np.exp(shared + own[0]), np.exp(shared + own[1])


SIMULATIONS: dict[str, Callable[[], Iterator[str]]] = {"overhead": overhead}


def main() -> None:
    """Print the tables of the simulations that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SIMULATIONS, []], metavar="NAME")
    for name in parser.parse_args().names or SIMULATIONS:
        print(f"\n{name}: {SIMULATIONS[name].__doc__}")
        for line in SIMULATIONS[name]():
            print(line, flush=True)


if __name__ == "__main__":
    main()
