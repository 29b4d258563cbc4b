"""Long simulations behind the intervals of the report; short versions are among the tests.

``python tests/bench/intervals.py [NAME ...]`` prints a table for each name, all by default.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from adakd.stats import (
    PairResult,
    Spread,
    allow_for_unseen,
    distances,
    mean_ratio,
    median_ratio,
    order_agreement,
    paired_difference,
    seed_noise,
    stopped_rate,
    win_rate,
)
from adakd.stats.confidence_sequence import confidence_sequence
from adakd.stats.ratios import Ratio

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


def until() -> Iterator[str]:
    """Words about a judge whose true win rate is one half: false ones, by trainings and looks.

    `looking`: a word at any of the looks; `at the end`: at the last one. Of the sequence alone, a
    sample of fixed size, and both with the part of the seeds, as on the page.
    """
    yield "seeds  sd of seeds  at the end: sequence, page  looking: the same  width: fixed, page"
    prompts, looks, runs = 800, range(200, 801, 200), RUNS // 5
    for seeds in (1, 2, 3, 5):
        for of_seeds in (0.0, 0.03, 0.06):
            rng, words, widths = np.random.default_rng(seeds), np.zeros(4), np.zeros(2)
            for _ in range(runs):
                shift = rng.normal(0, of_seeds, seeds)
                drawn = rng.random((prompts, seeds))
                points = np.where(drawn < 0.35 + shift, 1, np.where(drawn > 0.65 + shift, 0, 0.5))
                low, high = confidence_sequence(points.mean(1))
                alone, page = [], []
                for n in looks:
                    sequence = Ratio(float(points[:n].mean()), low[n - 1], high[n - 1], n)
                    pairs = _pairs(points[:n])
                    rate = win_rate(pairs, replicates=200)
                    found, p = stopped_rate(pairs, rate, sequence)
                    alone.append(not sequence.low <= 0.5 <= sequence.high)
                    page.append(p is not None and p < 0.05)
                words += [alone[-1], page[-1], any(alone), any(page)]
                assert rate.overall is not None
                assert found is not None
                widths += [rate.overall.high - rate.overall.low, found.high - found.low]
            end, its_end, any_look, its_any = words / runs
            fixed, wide = widths / runs
            yield (
                f"{seeds:5}  {of_seeds:11.2f}  {end:17.3f}  {its_end:.3f}  {any_look:17.3f}  "
                f"{its_any:.3f}  {fixed:12.3f}  {wide:.3f}"
            )


def _pairs(points: Array) -> list[PairResult]:
    names = {0.0: "loss", 0.5: "tie", 1.0: "win"}
    return [
        PairResult(prompt, seed, names[points[prompt, seed]], None, None)  # type: ignore[arg-type]
        for prompt, seed in np.ndindex(points.shape)
    ]


def alike() -> Iterator[str]:
    """Items that mostly come out alike, one seed: coverage of the true mean difference."""
    yield "items  share that differs  kind                coverage  false words (8 rows)  width"
    for items, share in ((30, 0.03), (60, 0.05), (60, 0.2), (200, 0.05), (200, 0.5)):
        for kind in ("normal", "exponential", "right or wrong", "mostly right"):
            rng, values = np.random.default_rng(items), np.zeros(3)
            for _ in range(RUNS):
                drawn, truth = _differences(rng, items, share, kind)
                most = 100.0 if "right" in kind else np.inf
                found = allow_for_unseen(paired_difference(drawn, np.zeros_like(drawn)), most)
                is_missed = found.low > truth + 1e-9 or found.high < truth - 1e-9
                values += [not is_missed, found.p_value < 0.05 / 8, found.high - found.low]
            covered, words, width = values / RUNS
            of_eight = f"{1 - (1 - words) ** 8:.3f}" if truth == 0 else "    -"
            yield (
                f"{items:5}  {share:18.2f}  {kind:18}  {covered:8.3f}  {of_eight:>20}  {width:5.1f}"
            )


def _differences(
    rng: np.random.Generator, items: int, share: float, kind: str
) -> tuple[Array, float]:
    """Return differences of items x 1 and their true mean; a share of them is not 0."""
    drawn = {
        "normal": rng.normal(0, 20, items),
        "exponential": rng.exponential(20, items) - 20,
        "right or wrong": rng.choice([-100.0, 100.0], items),
        "mostly right": rng.choice([-100.0, 100.0], items, p=[0.1, 0.9]),
    }[kind]
    truth = 80 * share if kind == "mostly right" else 0.0
    return np.where(rng.random(items) < share, drawn, 0.0)[:, None], truth


def bands() -> Iterator[str]:
    """Gains of arms that change nothing, outside the band of chance in training."""
    yield "methods  seeds  outside: typical distance of one training  band of the row"
    for methods, seeds in ((1, 2), (1, 3), (1, 5), (6, 3), (6, 5)):
        rng, outside = np.random.default_rng(seeds), np.zeros(2)
        for _ in range(5 * RUNS):
            noise = seed_noise(
                [distances(dict(enumerate(rng.normal(0, 1, seeds)))) for _ in range(methods)]
            )
            assert noise is not None
            gain = abs(rng.normal(0, np.sqrt(2 / seeds)))
            outside += [gain > noise.distance, gain > noise.band(seeds)]
        yield f"{methods:7}  {seeds:5}  {outside[0] / RUNS / 5:42.3f}  {outside[1] / RUNS / 5:.3f}"


def orders() -> Iterator[str]:
    """Kendall's tau of unrelated orders: share with p below 0.05."""
    for students in (3, 4, 5, 6, 8, 12):
        rng = np.random.default_rng(students)
        p = [
            order_agreement(rng.normal(size=students), list(range(students))).p_value or 1.0
            for _ in range(2 * RUNS)
        ]
        yield f"{students:3} students: {np.mean(np.array(p) < 0.05):.3f}, least p {min(p):.4f}"


def design() -> Iterator[str]:
    """Runs with a true gain of the size that a design is said to find: share that finds it."""
    yield "items  seeds  comparisons  detectable  found"
    for items, seeds, comparisons in product((60, 200), (1, 2, 3, 5, 10), (1, 8)):
        spread = Spread(items=3.0, seeds=0.6 if seeds > 1 else None, noise=13.0)
        gain, level = spread.detectable(items, seeds, comparisons), 1 - 0.95 ** (1 / comparisons)
        rng, found = np.random.default_rng(items), 0
        for _ in range(RUNS):
            values = (
                gain
                + rng.normal(0, spread.items, (items, 1))
                + rng.normal(0, spread.seeds or 0.0, (1, seeds))
                + rng.normal(0, spread.noise, (items, seeds))
            )
            found += paired_difference(values, np.zeros_like(values)).p_value < level
        yield f"{items:5}  {seeds:5}  {comparisons:11}  {gain:10.2f}  {found / RUNS:.3f}"


SIMULATIONS: dict[str, Callable[[], Iterator[str]]] = {
    "overhead": overhead,
    "until": until,
    "alike": alike,
    "bands": bands,
    "orders": orders,
    "design": design,
}


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
