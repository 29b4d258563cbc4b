"""Agreement of judges with each other, and with the metric."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from adakd.config.judge import Outcome
from adakd.reporting.judges.verdicts import JudgedPair, Place
from adakd.stats import cohen_kappa, krippendorff_alpha
from adakd.store.records import JudgeRecord

_CATEGORIES: Mapping[Outcome, str | None] = {
    "win": "candidate",
    "loss": "opponent",
    "tie": "neither",
    "flip": "neither",
    "identical": None,
    "failed": None,
}
"""What a judge thinks of a pair; a verdict that changes with the order prefers neither side."""
_Ratings = Mapping[Place, str]


@dataclass(frozen=True)
class Agreement:
    """Two judges on the pairs that both decided something about."""

    first: str
    second: str
    kappa: float | None
    """Cohen's; None where both said one and the same of all pairs."""
    same: float
    """Share of pairs of which both said the same."""
    n: int


@dataclass(frozen=True)
class Agreements:
    """Every two judges, and all of them together."""

    metric: str
    """Title of the metric, which counts as a judge that prefers the better score."""
    judges: tuple[str, ...]
    """Keys, in the order of the matrix; the metric's title last, where it prefers any answer."""
    pairs: tuple[Agreement, ...]
    alpha: float | None
    """Krippendorff's over all judges, without the metric."""
    units: int
    """Pairs that at least two judges decided something about."""

    def of(self, a: str, b: str) -> Agreement | None:
        """Return how far two judges agree; None where they share no pair."""
        return next((pair for pair in self.pairs if {pair.first, pair.second} == {a, b}), None)


def agreements(
    judges: Sequence[JudgeRecord], pairs: Mapping[str, Sequence[JudgedPair]], metric: str
) -> Agreements:
    """Compare all judges; a jury is left out, since its members would agree with themselves.

    Args:
        judges: those that were asked.
        pairs: the judged pairs, by the judge's key.
        metric: title of the metric whose values the pairs hold.
    """
    ratings = {judge.key: _ratings(pairs[judge.key]) for judge in judges if not judge.members}
    ratings = {key: found for key, found in ratings.items() if found}
    by_metric = _by_metric(pair for key in ratings for pair in pairs[key])
    places = list(dict.fromkeys(place for found in ratings.values() for place in found))
    units = [[found.get(place) for place in places] for found in ratings.values()]
    shared = sum(sum(said is not None for said in unit) > 1 for unit in zip(*units, strict=True))
    everyone = {**ratings, **({metric: by_metric} if by_metric else {})}
    return Agreements(
        metric=metric,
        judges=tuple(everyone),
        pairs=tuple(
            found
            for a, b in combinations(everyone, 2)
            if (found := _agreement(a, b, everyone[a], everyone[b]))
        ),
        alpha=krippendorff_alpha(units) if shared else None,
        units=shared,
    )


def _agreement(a: str, b: str, first: _Ratings, second: _Ratings) -> Agreement | None:
    both = [(first[place], second[place]) for place in first if place in second]
    if not both:
        return None
    same = sum(one == other for one, other in both) / len(both)
    return Agreement(a, b, cohen_kappa(*zip(*both, strict=True)), same, len(both))


def _ratings(pairs: Sequence[JudgedPair]) -> dict[Place, str]:
    said = {pair.place: _CATEGORIES[pair.outcome] for pair in pairs}
    return {place: category for place, category in said.items() if category}


def _by_metric(pairs: Iterable[JudgedPair]) -> dict[Place, str]:
    preferred = {p.place: p.preferred_by_metric for p in pairs if p.outcome != "identical"}
    said = {place: _CATEGORIES[what] for place, what in preferred.items() if what}
    return {place: category for place, category in said.items() if category}
