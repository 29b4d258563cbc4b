"""Win rates, and what they are worth: everything that the page says about judges."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from adakd.judging.comparisons import AGAIN, ALL
from adakd.planning import PLAIN
from adakd.reporting.index import Index, Method
from adakd.reporting.judges.agreement import Agreements, agreements
from adakd.reporting.judges.referees import Referee, referees
from adakd.reporting.judges.standings import Standing, standing
from adakd.reporting.judges.verdicts import JudgedPair, Verdicts, grouped
from adakd.stats import LEVEL, Conclusion, Ratio, WinRate, holm, win_rate
from adakd.store import Store
from adakd.store.records import StopRecord, VerdictRecord, VettingRecord

LENGTH_MATTERS = 0.1
"""How far the rate at equal length may be from the raw one before the page warns."""


@dataclass(frozen=True)
class Contest:
    """All that one judge said of one method against another."""

    judge: str
    against: str
    method: Method
    opponent: Method
    rate: WinRate
    overall: Ratio | None
    """The rate that the page shows: with the interval of the judging's stop where it has one."""
    stop: StopRecord | None = None
    adjusted_p: float | None = None
    """None where the interval decides, since a judging that stops by itself has no p-value."""
    word: Conclusion = "not separable"
    """Of the overall rate against one half."""
    band: float | None = None
    """How far from one half two trainings of one plain method are that differ in their seed."""
    first_preferred: float | None = None
    """Share of decided verdicts that chose the answer shown first; 0.5 for an unbiased judge."""
    failures: tuple[tuple[str, int], ...] = ()
    """The commonest reasons of failures, with their counts."""

    @property
    def inside_band(self) -> bool:
        """Whether training the plain method again gives as large a difference."""
        if self.band is None or self.overall is None:
            return False
        return abs(self.overall.estimate - 0.5) <= self.band

    @property
    def length_matters(self) -> bool:
        """Whether the lengths of the answers explain much of the rate."""
        raw, controlled = self.rate.overall, self.rate.controlled
        if raw is None or controlled is None:
            return False
        return abs(controlled.estimate - raw.estimate) > LENGTH_MATTERS


@dataclass(frozen=True)
class Judging:
    """All judges and all that they said."""

    referees: tuple[Referee, ...] = ()
    contests: tuple[Contest, ...] = ()
    agreements: Agreements | None = None
    standings: tuple[Standing, ...] = ()

    def referee(self, key: str) -> Referee:
        """Return the judge with this key."""
        return next(one for one in self.referees if one.record.key == key)

    def name(self, key: str) -> str:
        """Return what a judge is called: by its name alone where that tells it apart."""
        names = [one.record.name for one in self.referees]
        found = [one.record.name for one in self.referees if one.record.key == key]
        return found[0] if found and names.count(found[0]) == 1 else key


def judging(store: Store, index: Index, verdicts: Verdicts) -> Judging:
    """Return all that the records tell of judges."""
    pairs, metric = verdicts.pairs, index.metric.title if index.metric else ""
    judges = referees(verdicts, store.of(VettingRecord), index.run)
    bands = {judge.record.key: judge.band for judge in judges}
    return Judging(
        referees=judges,
        contests=contests(store, index, pairs, bands),
        agreements=agreements(verdicts.judges, pairs, metric) if judges else None,
        standings=tuple(s for key, of_judge in pairs.items() if (s := standing(key, of_judge))),
    )


def contests(
    store: Store,
    index: Index,
    pairs: Mapping[str, Sequence[JudgedPair]],
    bands: Mapping[str, float | None],
) -> tuple[Contest, ...]:
    """Summarise the pairs by judge, opponent and method.

    The words are one Holm family, and those of every method against every other one another. A
    row with a stop has its word by its own interval: that holds whenever one looks, and has no
    p-value.
    """
    groups = {
        place: found
        for of_judge in pairs.values()
        for place, found in grouped(of_judge).items()
        if place[1] != AGAIN
    }
    stops = {(s.judge, s.against, s.method, s.opponent): s for s in store.of(StopRecord)}
    rows = [
        _contest(*place, found, stops.get((*place[:2], str(place[2]), str(place[3]))))
        for place, found in groups.items()
    ]
    rows = [replace(row, band=bands.get(row.judge)) for row in rows]
    families = ([r for r in rows if r.against != ALL], [r for r in rows if r.against == ALL])
    order = {method: number for number, method in enumerate(index.methods)}
    judges = {key: number for number, key in enumerate(pairs)}
    return tuple(
        sorted(
            (row for family in families for row in _worded(family)),
            key=lambda c: (
                c.against == ALL,
                c.against != PLAIN,
                c.against,
                judges[c.judge],
                order.get(c.method, 0),
            ),
        )
    )


def _contest(
    judge: str,
    against: str,
    method: Method,
    opponent: Method,
    pairs: Sequence[JudgedPair],
    stop: StopRecord | None,
) -> Contest:
    rate = win_rate(pair.result for pair in pairs)
    orders = [record for pair in pairs for record in pair.orders]
    reasons = Counter(record.reason for record in orders if record.verdict == "failed")
    if stop and rate.prompts > stop.prompts:
        stop = None  # judged further since, without a stop in mind
    return Contest(
        judge=judge,
        against=against,
        method=method,
        opponent=opponent,
        rate=rate,
        overall=Ratio(stop.estimate, stop.low, stop.high, stop.prompts) if stop else rate.overall,
        stop=stop,
        first_preferred=_first_preferred(orders),
        failures=tuple(reasons.most_common(3)),
    )


def _worded(rows: Sequence[Contest]) -> list[Contest]:
    """Give each row of a family its word."""
    fixed = [row for row in rows if row.stop is None]
    adjusted = iter(holm([row.rate.p_value for row in fixed]))
    worded = []
    for row in rows:
        p = None if row.stop else next(adjusted)
        worded.append(replace(row, adjusted_p=p, word=_word(row.overall, p)))
    return worded


def _word(overall: Ratio | None, adjusted_p: float | None) -> Conclusion:
    if overall is None:
        return "not separable"
    outside = not overall.low <= 0.5 <= overall.high
    if outside if adjusted_p is None else adjusted_p < LEVEL:
        return "better" if overall.estimate > 0.5 else "worse"
    return "not separable"


def _first_preferred(orders: Sequence[VerdictRecord]) -> float | None:
    sides = {"candidate": True, "opponent": False}
    decided = [record for record in orders if record.verdict in sides]
    first = sum(sides[record.verdict] == record.candidate_first for record in decided)
    return first / len(decided) if decided else None
