"""Two runs of one suite side by side: on two machines, by two versions, or with other seeds.

Cells are paired by method and training seed; where two runs share no seed of a method, its first
seeds are paired, then its second, and so on. Two trainings that should be alike differ as far as
chance in training takes them, if nothing else is different: a difference is held against the
distance of trainings that differ in their seed alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, sqrt
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from adakd.planning import SEEDED
from adakd.reporting.formatting import counted, number, signed
from adakd.reporting.index import Index, Method, index
from adakd.reporting.scorings import Scoring
from adakd.reporting.wording import listed
from adakd.stats import SeedNoise, distances, seed_noise
from adakd.stats.bootstrap import LEVEL
from adakd.store import Store
from adakd.store.records import TaskRecord, TimingRecord, TrainingRecord
from adakd.store.uniting import settings

Verdict = Literal["equal", "within noise", "beyond noise", "noise unknown"]
Noise = Literal["training", "items", ""]
Values = Mapping[str, float]
"""The values of the items of a cell, by id, in the unit of the page."""


@dataclass(frozen=True)
class CellPair:
    """A cell of the first run and the one of the second that is held against it."""

    method: str
    seeds: tuple[int, int]
    same_key: bool
    """Whether nothing that decides its weights is different: settings, data, version."""
    weights: Literal["equal", "different", "unknown", "untrained"]
    parted: str = ""
    """Where the trainings first differ."""

    @property
    def label(self) -> str:
        """The method and its seeds."""
        one, other = self.seeds
        return f"{self.method}, seed {one}" + (f" and {other}" if one != other else "")


@dataclass(frozen=True)
class ScorePair:
    """One column of one pair of cells, or the mean of a column over all trained pairs."""

    cell: str
    task: str
    unit: str
    first: float
    second: float
    difference: float
    """The second run minus the first, on the items that both have."""
    items: int
    band: float | None
    """How far from 0 chance takes such a difference in 95 of 100 cases; None if not known."""
    noise: Noise
    """What the band is of: other training seeds, or the items alone."""
    verdict: Verdict


@dataclass(frozen=True)
class Setting:
    """A setting, version or part of the machine that is not the same."""

    field: str
    first: str
    second: str


@dataclass(frozen=True)
class TwoRuns:
    """All that differs between two runs, and how much chance alone would explain."""

    names: tuple[str, str]
    cells: tuple[CellPair, ...]
    scores: tuple[ScorePair, ...]
    means: tuple[ScorePair, ...]
    """The mean difference of each column over all trained pairs."""
    only: tuple[tuple[str, ...], tuple[str, ...]]
    """Cells that one run alone has."""
    seconds: tuple[float, float]
    """Time of the paired trainings."""
    provenance: tuple[Setting, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in plain words."""
        return tuple(self._sentences())

    def _sentences(self) -> Iterator[str]:
        if not self.scores:
            yield "The runs have no score in common."
            return
        trained = [cell for cell in self.cells if cell.weights in ("equal", "different")]
        keys = sum(cell.same_key for cell in self.cells)
        of_weights = (
            f"the weights of {sum(cell.weights == 'equal' for cell in trained)} of "
            f"{counted(len(trained), 'trained cell')} are equal, bit for bit"
            if trained
            else "hashes of weights are not recorded"
        )
        yield (
            f"{counted(len(self.cells), 'cell')} in both runs, {keys} of them under the same key; "
            f"{of_weights}."
        )
        counts = {
            verdict: sum(row.verdict == verdict for row in self.scores)
            for verdict in ("equal", "within noise", "beyond noise", "noise unknown")
        }
        told = [f"{count} {verdict}" for verdict, count in counts.items() if count]
        yield f"Of {counted(len(self.scores), 'score')}: {listed(told)}."
        judged = counts["within noise"] + counts["beyond noise"]
        if judged:
            yield (
                "By chance alone, about 1 in 20 scores that are not equal is beyond noise: "
                f"{number(judged / 20, 1)} here."
            )
        beyond = [row for row in self.means if row.verdict == "beyond noise"]
        for row in beyond:
            yield (
                f"All trained cells together moved on {row.task}: {signed(row.difference)} "
                f"({row.unit}), where chance takes such a mean {number(row.band)} far."
            )
        if any(row.noise == "items" and row.verdict != "equal" for row in self.scores):
            yield (
                "Where no two training seeds of a run tell how far trainings differ by chance, and "
                "for models that are not trained by seeds, the noise is that of the items alone: "
                "beyond it the models answer differently, which need not be more than chance in "
                "training."
            )


def two_runs(first: Store, second: Store) -> TwoRuns:
    """Compare two runs of one suite, or of much the same one."""
    one, other = index(first), index(second)
    pairs, only = _cell_pairs(one, other)
    columns = [task for task in one.tasks if task.key in {task.key for task in other.tasks}]
    rows: list[ScorePair] = []
    means: list[ScorePair] = []
    for task in columns:
        noise = _noise(one, task) or _noise(other, task)
        found = [
            (method, row)
            for method, seeds in pairs
            if (row := _score(one, other, method, seeds, task, noise)) is not None
        ]
        rows += [row for _, row in found]
        trained = [row for method, row in found if method.role in SEEDED]
        if noise is not None and any(row.verdict != "equal" for row in trained):
            means.append(_mean(trained, task, noise))
    cells = tuple(_cell(one, other, method, seeds) for method, seeds in pairs)
    return TwoRuns(
        names=(str(first.folder), str(second.folder)),
        cells=cells,
        scores=tuple(rows),
        means=tuple(means),
        only=only,
        seconds=(_seconds(one, [(m, s) for m, (s, _) in pairs]),
                 _seconds(other, [(m, s) for m, (_, s) in pairs])),
        provenance=tuple(_provenance(first, second, one, other)),
    )  # fmt: skip


def _cell_pairs(
    one: Index, other: Index
) -> tuple[list[tuple[Method, tuple[int, int]]], tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the cells to hold against each other, and the labels of those of one run alone."""
    pairs: list[tuple[Method, tuple[int, int]]] = []
    lone: tuple[list[str], list[str]] = ([], [])
    for method in dict.fromkeys((*one.methods, *other.methods)):
        ours, theirs = ([s for m, s in of.expected if m == method] for of in (one, other))
        shared = [(seed, seed) for seed in ours if seed in theirs]
        found = shared or list(zip(sorted(ours), sorted(theirs), strict=False))
        pairs += [(method, seeds) for seeds in found]
        for side, seeds in enumerate((ours, theirs)):
            used = {pair[side] for pair in found}
            lone[side].extend(f"{method}, seed {seed}" for seed in seeds if seed not in used)
    return pairs, (tuple(lone[0]), tuple(lone[1]))


def _cell(one: Index, other: Index, method: Method, seeds: tuple[int, int]) -> CellPair:
    ours, theirs = (
        of.trainings.get((method, s)) for of, s in zip((one, other), seeds, strict=True)
    )
    weights: Literal["equal", "different", "unknown", "untrained"] = "unknown"
    if ours is not None and theirs is not None:
        if not ours.steps and not theirs.steps:
            weights = "untrained"
        elif ours.files and theirs.files:
            weights = "equal" if _weights(ours) == _weights(theirs) else "different"
    same_key = ours is not None and theirs is not None and ours.key == theirs.key
    parted = _parted(ours, theirs) if ours and theirs else ""
    return CellPair(str(method), seeds, same_key, weights, parted)


def _weights(record: TrainingRecord) -> dict[str, str]:
    """Return the hashes of the weights: the other files may differ by version."""
    return {name: of for name, of in record.files.items() if name.endswith(".safetensors")}


def _parted(ours: TrainingRecord, theirs: TrainingRecord) -> str:
    """Return where two trainings part: the first step with another loss."""
    if ours.status != theirs.status:
        return f"{ours.status} and {theirs.status}"
    if len(ours.steps) != len(theirs.steps):
        return f"{len(ours.steps)} and {len(theirs.steps)} steps"
    for one, other in zip(ours.steps, theirs.steps, strict=True):
        if one.loss != other.loss:
            return f"losses from step {one.step} on: {one.loss:.6g} and {other.loss:.6g}"
    return ""


def _values(records: Sequence[Scoring], samplings: Sequence[int | None], scale: float) -> Values:
    """Return the value of each item, averaged over some sampling seeds."""
    found: dict[str, list[float]] = {}
    for record in records:
        if record.sampling_seed in samplings:
            for item, value in zip(record.ids, record.values.tolist(), strict=True):
                if not isnan(value):
                    found.setdefault(item, []).append(value * scale)
    return {item: sum(values) / len(values) for item, values in found.items()}


def _score(
    one: Index, other: Index, method: Method, seeds: tuple[int, int], task: TaskRecord,
    noise: SeedNoise | None,
) -> ScorePair | None:  # fmt: skip
    """Return one column of a pair of cells; None where one side has no score of it."""
    ours, theirs = (
        of.scores.get((method, seed, task.key), ())
        for of, seed in zip((one, other), seeds, strict=True)
    )
    mine, its = ([record.sampling_seed for record in of] for of in (ours, theirs))
    shared = [seed for seed in mine if seed in its]
    first, second = (
        _values(ours, shared or mine, task.scale),
        _values(theirs, shared or its, task.scale),
    )
    items = [item for item in first if item in second]
    if not items:
        return None
    apart = np.array([second[item] - first[item] for item in items])
    means = [float(np.mean([of[item] for item in items])) for of in (first, second)]
    difference = float(apart.mean())
    of_seeds = method.role in SEEDED and noise is not None
    band = noise.band(1) if of_seeds and noise is not None else _item_band(apart)
    equal = not apart.any() and len(items) == len(first) == len(second)
    return ScorePair(
        cell=f"{method}, seed {seeds[0]}" + (f" and {seeds[1]}" if seeds[0] != seeds[1] else ""),
        task=task.name,
        unit=task.unit,
        first=means[0],
        second=means[1],
        difference=difference,
        items=len(items),
        band=band,
        noise="" if band is None else "training" if of_seeds else "items",
        verdict="equal" if equal else _verdict(difference, band),
    )


def _item_band(apart: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float | None:
    """Return how far chance in the items takes the mean of their differences."""
    if len(apart) < 2:
        return None
    spread = float(apart.std(ddof=1)) / sqrt(len(apart))
    return float(stdtrit(len(apart) - 1, 1 - LEVEL / 2)) * spread


def _verdict(difference: float, band: float | None) -> Verdict:
    if band is None or not isfinite(band):
        return "noise unknown"
    return "within noise" if abs(difference) <= band else "beyond noise"


def _mean(rows: Sequence[ScorePair], task: TaskRecord, noise: SeedNoise) -> ScorePair:
    """Return the mean of a column over pairs of trained cells."""
    difference = float(np.mean([row.difference for row in rows]))
    band = noise.band(len(rows))
    return ScorePair(
        cell=f"mean of {counted(len(rows), 'trained cell')}",
        task=task.name,
        unit=task.unit,
        first=float(np.mean([row.first for row in rows])),
        second=float(np.mean([row.second for row in rows])),
        difference=difference,
        items=sum(row.items for row in rows),
        band=band,
        noise="training",
        verdict=_verdict(difference, band),
    )


def _noise(of: Index, task: TaskRecord) -> SeedNoise | None:
    """Return the distance of trainings of one run that differ in their seed alone."""
    methods = []
    for method in of.methods:
        if method.role not in SEEDED:
            continue
        values = {
            seed: float(np.mean([record.value for record in records])) * task.scale
            for (m, seed, key), records in of.scores.items()
            if m == method and key == task.key
        }
        methods.append(distances(values))
    return seed_noise(methods)


def _seconds(of: Index, cells: Sequence[tuple[Method, int]]) -> float:
    return sum(of.trainings[cell].seconds for cell in cells if cell in of.trainings)


def _provenance(first: Store, second: Store, one: Index, other: Index) -> Iterator[Setting]:
    """Yield what is not the same in the last starts of both runs."""
    if one.run is None or other.run is None:
        return
    ours, theirs = one.run, other.run
    if ours.commit != theirs.commit:
        yield Setting("commit", ours.commit or "none", theirs.commit or "none")
    devices = [
        listed(sorted({record.device for record in store.of(TimingRecord)}) or ["not timed"])
        for store in (first, second)
    ]
    mappings: dict[str, tuple[Mapping[str, object], Mapping[str, object]]] = {
        "versions": (ours.versions, theirs.versions),
        "hardware": (ours.hardware, theirs.hardware),
        "timing": ({"device": devices[0]}, {"device": devices[1]}),
        "suite": (dict(settings(ours.suite)), dict(settings(theirs.suite))),
    }
    for name, (mine, its) in mappings.items():
        for field in dict.fromkeys((*mine, *its)):
            if mine.get(field) != its.get(field):
                yield Setting(f"{name}.{field}", *(_shown(of.get(field)) for of in (mine, its)))


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
