"""Simulated runs: error rates, power, and the claim of "detectable", of the statistics on a page.

``python tests/bench/error_rates.py [families] [power] [detectable] [--runs N]`` prints Markdown
tables; 200 runs of everything take about half an hour on one idle core, and ``tests/stats`` has
short versions. A run is one family of comparisons over one plain arm, or with a plain arm each
("apart"): scores have effects of items, of training seeds, and noise of single observations.
"Holm" is Holm's method on the same p-values.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from adakd.stats import correlations, critical_p, step_down
from adakd.stats.bootstrap import LEVEL, Array
from adakd.stats.components import Components, error_law, observations
from adakd.stats.error_law import ErrorLaw

ITEM, NOISE = 15.0, 10.0
"""Standard deviations of the paired differences of ROUGE-L x 100: of items, and of single ones."""


@dataclass(frozen=True)
class Design:
    """A family of comparisons, all without an effect but the first."""

    seeds: int
    items: int
    rows: int
    of_seeds: float
    """Standard deviation of the paired difference over training seeds."""
    shared: bool = True
    """Whether all rows have the same plain arm."""

    def differences(self, rng: np.random.Generator) -> list[Array]:
        """Return adaptive minus plain, items x seeds, for each row."""
        plain = self._arm(rng)
        arms = [self._arm(rng) for _ in range(self.rows)]
        return [arm - (plain if self.shared else self._arm(rng)) for arm in arms]

    def _arm(self, rng: np.random.Generator) -> Array:
        of_items = rng.normal(0, ITEM, (self.items, 1))
        of_seeds = rng.normal(0, self.of_seeds, (1, self.seeds))
        return (of_items + of_seeds + rng.normal(0, NOISE, (self.items, self.seeds))) / np.sqrt(2)


@dataclass(frozen=True)
class Family:
    """What the page derives from a family."""

    parts: Sequence[Components]
    laws: Sequence[ErrorLaw]
    correlation: Array

    @classmethod
    def of(cls, differences: Sequence[Array]) -> "Family":
        """Return the family of some paired differences."""
        parts = [Components.of(*observations(values)) for values in differences]
        laws = [error_law([part]) for part in parts]
        scale = np.sqrt(len(differences[0]) / (len(differences[0]) - 1))
        pulls = [part.by_item * scale for part in parts]
        return cls(parts, laws, correlations(pulls, [law.error for law in laws]))

    def p_values(self, gain: float = 0.0) -> list[float]:
        """Return the p-values alone, with a true gain in the first row."""
        gains = [gain, *[0.0] * (len(self.parts) - 1)]
        return [
            law.p_value(part.estimate + more)
            for law, part, more in zip(self.laws, self.parts, gains, strict=True)
        ]


def holm(p_values: Sequence[float]) -> Array:
    """Return the p-values adjusted by Holm's method."""
    p = np.asarray(p_values)
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def families(runs: int) -> Iterator[str]:
    """Share of families without any effect in which at least one row has a verdict."""
    yield "| seeds | items | rows | seed sd | one plain arm: step-down | Holm | apart | runs |"
    yield "|---|---|---|---|---|---|---|---|"
    for seeds, items, rows in product((1, 2, 3, 5), (60, 200, 500), (8, 28, 150)):
        few = max(runs // {8: 1, 28: 2, 150: 5}[rows], 20)
        for of_seeds in (0.0,) if seeds == 1 else (0.0, 4.0):
            rng, found = np.random.default_rng((seeds, items, rows)), []
            for _ in range(few):
                p_values, correlation = _null(Design(seeds, items, rows, of_seeds), rng)
                own, of_own = _null(Design(seeds, items, rows, of_seeds, shared=False), rng)
                found.append(
                    (
                        min(step_down(p_values, correlation)) < LEVEL,
                        holm(p_values).min() < LEVEL,
                        min(step_down(own, of_own)) < LEVEL,
                    )
                )
            step, by_holm, apart = np.mean(found, axis=0)
            place = f"| {seeds} | {items} | {rows} | {of_seeds:g} "
            yield f"{place}| {step:.3f} | {by_holm:.3f} | {apart:.3f} | {few} |"


def _null(design: Design, rng: np.random.Generator) -> tuple[list[float], Array]:
    family = Family.of(design.differences(rng))
    return family.p_values(), family.correlation


def power(runs: int) -> Iterator[str]:
    """Share of runs that find the gain of one row of a family whose other rows have none."""
    yield "| seeds | items | rows | gain | alone | step-down | Holm |"
    yield "|---|---|---|---|---|---|---|"
    for seeds, items, rows in product((1, 2, 3, 5), (200, 500), (8, 28)):
        design = Design(seeds, items, rows, 0.0 if seeds == 1 else 1.0)
        rng, found = np.random.default_rng((seeds, items, rows)), []
        for _ in range(max(runs // 4, 40)):
            family = Family.of(design.differences(rng))
            p = family.p_values(gain=3.0)
            adjusted = step_down(p, family.correlation)
            found.append((p[0] < LEVEL, adjusted[0] < LEVEL, holm(p)[0] < LEVEL))
        alone, step, by_holm = np.mean(found, axis=0)
        yield f"| {seeds} | {items} | {rows} | 3 | {alone:.2f} | {step:.2f} | {by_holm:.2f} |"


def detectable(runs: int) -> Iterator[str]:
    """Share of runs that find a true gain of the size that the median run calls detectable."""
    yield "| seeds | rows | seed sd | detectable (10-90 % of runs) | found |"
    yield "|---|---|---|---|---|"
    for seeds, rows in product((1, 2, 3, 5), (1, 8, 24)):
        for of_seeds in (0.0,) if seeds == 1 else (1.0, 4.0):
            design = Design(seeds, 200, rows, of_seeds)
            rng = np.random.default_rng((seeds, rows))
            made = [Family.of(design.differences(rng)) for _ in range(max(runs // 3, 40))]
            claims = [family.laws[0].detectable(critical_p(family.correlation)) for family in made]
            claim = float(np.median(claims))
            found = [
                step_down(family.p_values(gain=claim), family.correlation)[0] < LEVEL
                for family in made
            ]
            low, high = np.quantile(claims, [0.1, 0.9])
            place = f"| {seeds} | {rows} | {of_seeds:g} "
            yield f"{place}| {claim:.2f} ({low:.2f}-{high:.2f}) | {np.mean(found):.2f} |"


TABLES: dict[str, Callable[[int], Iterator[str]]] = {
    "families": families,
    "power": power,
    "detectable": detectable,
}


def main() -> None:
    """Print the tables that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; all by default")
    parser.add_argument("--runs", type=int, default=200, help="simulated runs of 8 rows")
    asked = parser.parse_args()
    for name in asked.tables or TABLES:
        print(f"\n{name}\n")
        for line in TABLES[name](asked.runs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
