"""Simulated runs: error rates, power, and the claim of "detectable", of the statistics on a page.

``python tests/bench/error_rates.py [families] [power] [detectable] [--runs N] [--seeds S ...]``
prints Markdown tables; ``tests/stats`` has short versions. The table of families with 500 runs has
standard errors of 0.01 and takes about half an hour on one idle core. A run is one family of
comparisons: scores have effects of items, of training seeds, and noise of single observations.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from scipy.special import ndtr

from adakd.stats import Adjusted, JointErrors, step_down
from adakd.stats.bootstrap import LEVEL, Array
from adakd.stats.components import Components, error_law, observations
from adakd.stats.error_law import ErrorLaw

ITEM, NOISE = 15.0, 10.0
"""Standard deviations of the paired differences of ROUGE-L x 100: of items, and of single ones."""
OF_SEEDS = 4.0
"""That over training seeds, in the table of families: larger than any seen, the hardest case."""
DRAWS = 400
"""Joint draws of a family: fewer than on a page; their error cancels over many families."""
Kind = Literal["apart", "one plain arm", "skewed"]
KINDS: tuple[Kind, ...] = ("apart", "one plain arm", "skewed")
"""Rows with a plain arm each, normal; over one plain arm, so correlated by one half; and apart with
items and noise that are skewed as an exponential is."""


@dataclass(frozen=True)
class Design:
    """A family of comparisons without an effect."""

    seeds: int
    items: int
    rows: int
    of_seeds: float
    """Standard deviation of the paired difference over training seeds."""
    kind: Kind = "one plain arm"

    def differences(self, rng: np.random.Generator) -> list[Array]:
        """Return adaptive minus plain, items x seeds, for each row."""
        if self.kind != "one plain arm":
            return [self._scores(rng) for _ in range(self.rows)]
        plain = self._scores(rng)
        return [(self._scores(rng) - plain) / np.sqrt(2) for _ in range(self.rows)]

    def _scores(self, rng: np.random.Generator) -> Array:
        def drawn(*shape: int) -> Array:
            if self.kind == "skewed":
                return rng.exponential(1, shape) - 1
            return rng.normal(0, 1, shape)

        of_seeds = rng.normal(0, self.of_seeds, (1, self.seeds))
        return ITEM * drawn(self.items, 1) + of_seeds + NOISE * drawn(self.items, self.seeds)


@dataclass(frozen=True)
class Family:
    """What the page derives from a family."""

    parts: Sequence[Components]
    laws: Sequence[ErrorLaw]
    errors: JointErrors

    @classmethod
    def of(cls, differences: Sequence[Array]) -> "Family":
        """Return the family of some paired differences."""
        parts = [Components.of(*observations(values)) for values in differences]
        laws = [error_law([part]) for part in parts]
        errors = JointErrors(
            np.array([part.by_item for part in parts]),
            np.zeros(len(differences[0]), np.intp),
            np.array([law.error for law in laws]),
            DRAWS,
        )
        return cls(parts, laws, errors)

    def p_values(self, gain: float = 0.0) -> list[float]:
        """Return the p-values alone, with a true gain in the first row."""
        gains = [gain, *[0.0] * (len(self.parts) - 1)]
        return [
            law.p_value(part.estimate + more)
            for law, part, more in zip(self.laws, self.parts, gains, strict=True)
        ]

    def adjusted(self, gain: float = 0.0) -> Adjusted:
        """Return the adjusted p-values."""
        return step_down(self.p_values(gain), self.errors)

    def normal_critical_p(self, rng: np.random.Generator) -> float:
        """Return the p that a first verdict needs if errors were normal, correlated as these."""
        n = self.errors.pulls.shape[1]
        pulls = self.errors.pulls / self.errors.errors[:, None] * np.sqrt(n / (n - 1))
        correlation = np.clip(pulls @ pulls.T, -1, 1)
        np.fill_diagonal(correlation, 1)
        values, vectors = np.linalg.eigh(correlation)
        root = vectors * np.sqrt(np.maximum(values, 0))
        most = np.abs(rng.standard_normal((DRAWS, len(root))) @ root.T).max(1)
        return float(np.quantile(2 * ndtr(-most), LEVEL))


def holm(p_values: Sequence[float]) -> Array:
    """Return the p-values adjusted by Holm's method."""
    p = np.asarray(p_values)
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def families(runs: int, seeds: Sequence[int]) -> Iterator[str]:
    """Share of families without any effect in which at least one row has a verdict.

    As on the page; and in brackets, if the errors were normal with the same correlation.
    """
    yield f"| seeds | items | rows | {' | '.join(KINDS)} | runs |"
    yield f"|---|---|---|{'---|' * len(KINDS)}---|"
    for of_seeds, items, rows in product(seeds, (60, 150, 500), (8, 28, 150)):
        few = runs * 2 // 5 if of_seeds > 1 and rows == 150 else runs  # rare: less error by itself
        cells = []
        for kind in KINDS:
            design = Design(of_seeds, items, rows, OF_SEEDS if of_seeds > 1 else 0.0, kind)
            rng, found = np.random.default_rng((of_seeds, items, rows)), np.zeros(2)
            for _ in range(few):
                family = Family.of(design.differences(rng))
                p = family.p_values()
                found += [
                    min(step_down(p, family.errors).p_values) < LEVEL,
                    min(p) < family.normal_critical_p(rng),
                ]
            on_page, normal = found / few
            cells.append(f"{on_page:.3f} ({normal:.3f})")
        yield f"| {of_seeds} | {items} | {rows} | {' | '.join(cells)} | {few} |"


def power(runs: int, seeds: Sequence[int]) -> Iterator[str]:
    """Share of runs that find the gain of one row of a family whose other rows have none."""
    yield "| seeds | items | rows | gain | alone | on the page | normal errors | Holm |"
    yield "|---|---|---|---|---|---|---|---|"
    for of_seeds, items, rows in product(seeds, (200, 500), (8, 28)):
        design = Design(of_seeds, items, rows, 0.0 if of_seeds == 1 else 1.0)
        rng, found = np.random.default_rng((of_seeds, items, rows)), []
        for _ in range(runs):
            family = Family.of(design.differences(rng))
            p, adjusted = family.p_values(gain=3.0), family.adjusted(gain=3.0).p_values
            normal = p[0] < family.normal_critical_p(rng)
            found.append((p[0] < LEVEL, adjusted[0] < LEVEL, normal, holm(p)[0] < LEVEL))
        shares = " | ".join(f"{share:.2f}" for share in np.mean(found, axis=0))
        yield f"| {of_seeds} | {items} | {rows} | 3 | {shares} |"


def detectable(runs: int, seeds: Sequence[int]) -> Iterator[str]:
    """Share of runs that find a true gain of the size that the median run calls detectable."""
    yield "| seeds | rows | seed sd | detectable (10-90 % of runs) | found |"
    yield "|---|---|---|---|---|"
    for of_seeds, rows in product(seeds, (1, 8, 24)):
        for spread in (0.0,) if of_seeds == 1 else (1.0, 4.0):
            design = Design(of_seeds, 200, rows, spread)
            rng = np.random.default_rng((of_seeds, rows))
            made = [Family.of(design.differences(rng)) for _ in range(runs)]
            claims = [family.laws[0].detectable(family.adjusted().critical_p) for family in made]
            claim = float(np.median(claims))
            found = [family.adjusted(gain=claim).p_values[0] < LEVEL for family in made]
            low, high = np.quantile(claims, [0.1, 0.9])
            place = f"| {of_seeds} | {rows} | {spread:g} "
            yield f"{place}| {claim:.2f} ({low:.2f}-{high:.2f}) | {np.mean(found):.2f} |"


TABLES: dict[str, Callable[[int, Sequence[int]], Iterator[str]]] = {
    "families": families,
    "power": power,
    "detectable": detectable,
}


def main() -> None:
    """Print the tables that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; all by default")
    parser.add_argument("--runs", type=int, default=500, help="simulated runs of a row")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 5], help="rows to print")
    asked = parser.parse_args()
    for name in asked.tables or TABLES:
        print(f"\n{name}\n")
        for line in TABLES[name](asked.runs, asked.seeds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
