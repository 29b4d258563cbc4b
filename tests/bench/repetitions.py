"""Repeats a suite with other training seeds: how often does the page find what is there?

``python tests/bench/repetitions.py`` runs `smoke` twenty times and prints a Markdown table of the
conclusions: of the positive control (expected: better), of the neutral arm (identical), of plain
against plain (not separable), and of every adaptive arm, whatever it is. It goes on where it
stopped. A suite whose ``controls.check`` is off is refused.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import adakd
from adakd.reporting.families import arm_differences
from adakd.reporting.paired import PairedDifference
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.controls import controls
from adakd.store import Store

QUICK = ("judges=[]", "timing.pairs=0")
"""What a conclusion on scores does not depend on is left out."""


@dataclass(frozen=True)
class Found:
    """One comparison in one repetition."""

    comparison: str
    conclusion: str
    estimate: float = float("nan")
    detectable: float = float("nan")

    @classmethod
    def of(cls, name: str, row: PairedDifference) -> "Found":
        """Return what the page says of a paired difference."""
        d = row.difference
        return cls(name, row.conclusion, *((d.estimate, d.minimum_effect) if d else ()))


def found(folder: Path) -> Iterator[Found]:
    """Yield the conclusions of a finished run: the controls, then the arms in their order."""
    context = Context.of(Store(folder))
    of = controls(context)
    if of is None:
        raise SystemExit(f"{folder}: the run has no controls: add --set controls.check=true")
    yield Found.of(f"{of.divergence} over SFT", of.positive)
    yield Found("neutral arm against plain", of.neutral.state)
    if of.again is not None:
        yield Found.of("plain against plain", of.again)
    for row in context.once(arm_differences).overall:
        yield Found.of(f"{row.arm} over plain, {row.divergence}", row)


def repeat(
    name: str, number: int, folder: Path, overrides: Sequence[str]
) -> Iterator[tuple[int, list[Found]]]:
    """Run a suite again and again, each time with seeds that no other repetition has."""
    count = len(adakd.load_suite(name, overrides).seeds)
    for repetition in range(1, number + 1):
        first = 1 + repetition * count
        seeds = list(range(first, first + count))
        suite = adakd.load_suite(name, [*overrides, *QUICK, f"seeds={seeds}"])
        run = folder / f"{repetition:02d}"
        adakd.run(suite, run)
        yield repetition, list(found(run))


def table(repetitions: Sequence[Sequence[Found]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, a line a comparison."""
    yield "| comparison | conclusions | mean difference | their sd | detectable, median |"
    yield "|---|---|---|---|---|"
    for same in zip(*repetitions, strict=True):
        words = Counter(one.conclusion for one in same).most_common()
        conclusions = ", ".join(f"{count} {word}" for word, count in words)
        values = np.array([one.estimate for one in same])
        figures = "| | | "
        if np.isfinite(values).all():
            spread = values.std(ddof=1) if len(values) > 1 else float("nan")
            detectable = np.median([one.detectable for one in same])
            figures = f"| {values.mean():+.2f} | {spread:.2f} | {detectable:.2f} "
        yield f"| {same[0].comparison} | {conclusions} {figures}|"


def main() -> None:
    """Repeat the suite that the command line names, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", default="smoke")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/repetitions"))
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    asked = parser.parse_args()
    done = []
    for number, words in repeat(asked.suite, asked.repetitions, asked.out, asked.overrides):
        done.append(words)
        line = "; ".join(f"{one.comparison}: {one.conclusion}" for one in words)
        print(f"{number}: {line}", flush=True)
    print("\n" + "\n".join(table(done)))


if __name__ == "__main__":
    main()
