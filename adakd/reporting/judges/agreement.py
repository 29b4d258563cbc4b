"""Agreement of judges with each other, and with the metric."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from adakd.config.judge import Outcome
from adakd.reporting.sections.base import Context
from adakd.reporting.verdicts import ComparisonId, JudgedComparison, Verdicts
from adakd.stats import cohen_kappa, krippendorff_alpha

_CATEGORIES: Mapping[Outcome, str | None] = {
    "win": "candidate",
    "loss": "opponent",
    "tie": "neither",
    "flip": "neither",
    "identical": None,
    "failed": None,
}
"""The preference in an outcome; a verdict that changes with the order prefers neither answer."""
_Ratings = Mapping[ComparisonId, str]


@dataclass(frozen=True)
class Agreement:
    """Two judges on the comparisons that both decided."""

    first: str
    second: str
    kappa: float | None
    """Cohen's kappa; None if both gave the same single verdict on all comparisons."""
    same: float
    """Share of comparisons with the same verdict."""
    n: int


@dataclass(frozen=True)
class Agreements:
    """The agreement of every two judges, and of all of them."""

    metric: str
    """Title of the metric, which counts as a judge that prefers the better score."""
    judges: tuple[str, ...]
    """Keys, in the order of the matrix; the metric's title last, if it prefers any answer."""
    names: Mapping[str, str]
    """By key."""
    pairs: tuple[Agreement, ...]
    alpha: float | None
    """Krippendorff's alpha over all judges, without the metric."""
    units: int
    """Comparisons that at least two judges decided."""

    @property
    def has_several_judges(self) -> bool:
        """Whether judges can be compared with each other."""
        return sum(judge != self.metric for judge in self.judges) > 1

    def of(self, a: str, b: str) -> Agreement | None:
        """Return the agreement of two judges; None if they share no comparison."""
        return next((pair for pair in self.pairs if {pair.first, pair.second} == {a, b}), None)


def agreement(context: Context) -> Agreements | None:
    """Compare all judges with each other and with the metric; None if none share a comparison."""
    metric = context.index.metric
    found = agreements(context.verdicts, metric.title if metric else "")
    return found if found.pairs else None


def agreements(verdicts: Verdicts, metric: str) -> Agreements:
    """Compare all judges; a jury is left out, since its members would agree with themselves.

    Args:
        verdicts: the comparisons of all judges.
        metric: title of the metric whose values the answers have.
    """
    comparisons, judges = verdicts.comparisons, verdicts.judges
    ratings = {judge.key: _ratings(comparisons[judge.key]) for judge in judges if not judge.members}
    ratings = {key: found for key, found in ratings.items() if found}
    by_metric = _by_metric(comparison for key in ratings for comparison in comparisons[key])
    ids = list(dict.fromkeys(id for found in ratings.values() for id in found))
    by_judge = [[found.get(id) for id in ids] for found in ratings.values()]
    decided = [sum(rating is not None for rating in unit) for unit in zip(*by_judge, strict=True)]
    shared = sum(count > 1 for count in decided)
    everyone = {**ratings, **({metric: by_metric} if by_metric else {})}
    return Agreements(
        metric=metric,
        judges=tuple(everyone),
        names={key: verdicts.name(key) for key in everyone},
        pairs=tuple(
            found
            for a, b in combinations(everyone, 2)
            if (found := _agreement(a, b, everyone[a], everyone[b]))
        ),
        alpha=krippendorff_alpha(by_judge) if shared else None,
        units=shared,
    )


def _agreement(a: str, b: str, first: _Ratings, second: _Ratings) -> Agreement | None:
    both = [(first[id], second[id]) for id in first if id in second]
    if not both:
        return None
    same = sum(one == other for one, other in both) / len(both)
    return Agreement(a, b, cohen_kappa(*zip(*both, strict=True)), same, len(both))


def _ratings(comparisons: Iterable[JudgedComparison]) -> dict[ComparisonId, str]:
    found = {one.id: _CATEGORIES[one.outcome] for one in comparisons}
    return {id: category for id, category in found.items() if category}


def _by_metric(comparisons: Iterable[JudgedComparison]) -> dict[ComparisonId, str]:
    preferred = {c.id: c.preferred_by_metric for c in comparisons if c.outcome != "identical"}
    found = {id: _CATEGORIES[outcome] for id, outcome in preferred.items() if outcome}
    return {id: category for id, category in found.items() if category}
