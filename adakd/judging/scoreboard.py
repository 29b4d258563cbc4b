"""Track the matches of a judging, and aggregate their outcomes by judge."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from adakd.config.hashing import digest
from adakd.config.judge import Outcome
from adakd.judging.comparisons import REFERENCE, Match
from adakd.judging.judge_files import Panel
from adakd.judging.outcomes import combined, outcome
from adakd.judging.queries import MatchQuery
from adakd.stats import POINTS, Ratio, always_valid
from adakd.store.records import StopRecord, VerdictRecord

Pairing = tuple[str, str, str]
"""The opponent's name in ``--against``, and the methods of candidate and opponent."""


@dataclass(slots=True)
class MatchState:
    """The state of a match across the judges of a panel: verdicts so far and open queries."""

    prompt: int
    """Its place in the order in which prompts are judged."""
    match: Match
    verdicts: list[VerdictRecord] = field(default_factory=list)
    unsaved: list[VerdictRecord] = field(default_factory=list)
    """Verdicts that need no judge and are not in the store yet."""
    open: list[MatchQuery] = field(default_factory=list)
    waiting: int = 0

    @property
    def pairing(self) -> Pairing:
        """The pairing whose win rate this match counts towards."""
        compared = self.match.comparison
        opponent = compared.opponent.cell.method if compared.opponent else REFERENCE
        return compared.against, compared.candidate.cell.method, opponent

    @property
    def complete(self) -> bool:
        """Whether every query has a verdict."""
        return not self.waiting

    def restore(self, record: VerdictRecord) -> None:
        """Add a verdict from the store."""
        self.verdicts.append(record)

    def settle(self, record: VerdictRecord) -> None:
        """Add a verdict that needs no judge."""
        self.verdicts.append(record)
        self.unsaved.append(record)

    def ask(self, query: MatchQuery) -> None:
        """Add an open query."""
        self.open.append(query)
        self.waiting += 1

    def answer(self, record: VerdictRecord) -> None:
        """Add the verdict on an open query."""
        self.verdicts.append(record)
        self.waiting -= 1


class Scoreboard:
    """Outcomes of the completed matches by judge; with `until`, also when to stop."""

    def __init__(self, panel: Panel, until: float | None) -> None:
        self.until = until
        self.judges = [judge.id for judge in panel.judges]
        self.failure: str | None = None
        self._members = list(self.judges)
        if len(panel.judges) > 1:
            self.judges.append(panel.id)
        self.outcomes: dict[str, Counter[Outcome]] = {judge: Counter() for judge in self.judges}
        self._points: dict[Pairing, dict[int, list[float]]] = {}
        self._reached: set[Pairing] = set()

    def wants(self, state: MatchState) -> bool:
        """Tell whether a match still counts: its win rate's interval is not narrow enough yet."""
        return state.pairing not in self._reached

    def add(self, state: MatchState) -> None:
        """Count a completed match, and release its texts."""
        by_judge = {
            judge: [record for record in state.verdicts if record.judge == judge]
            for judge in self._members
        }
        if len(by_judge) > 1:
            jury = self.judges[-1]
            by_judge[jury] = combined(list(by_judge.values()), jury)
        for judge, orders in by_judge.items():
            self.outcomes[judge][outcome(orders)] += 1
        failed = (record.reason for record in state.verdicts if record.verdict == "failed")
        self.failure = self.failure or next(failed, None)
        points = POINTS.get(outcome(by_judge[self.judges[-1]]))
        if points is not None:
            by_prompt = self._points.setdefault(state.pairing, {})
            by_prompt.setdefault(state.prompt, []).append(points)
        state.verdicts, state.open = [], []

    def update(self) -> None:
        """Find the pairings whose interval is narrow enough by now."""
        for pairing, by_prompt in self._points.items():
            if self.until is not None and _half_width(_rate(by_prompt)) <= self.until:
                self._reached.add(pairing)

    def stops(self, available: int) -> Iterator[StopRecord]:
        """Yield the state of each pairing out of `available` prompts; nothing without `until`."""
        if self.until is None:
            return
        for pairing, by_prompt in self._points.items():
            rate, (against, method, opponent) = _rate(by_prompt), pairing
            yield StopRecord(
                key=digest("stop", self.judges[-1], pairing),
                judge=self.judges[-1],
                against=against,
                method=method,
                opponent=opponent,
                target=self.until,
                prompts=len(by_prompt),
                available=available,
                estimate=rate.estimate,
                low=rate.low,
                high=rate.high,
                reached=_half_width(rate) <= self.until,
            )


def _rate(by_prompt: Mapping[int, Sequence[float]]) -> Ratio:
    """Return the win rate so far, over prompts in the drawn order, not in order of arrival."""
    return always_valid([fmean(by_prompt[prompt]) for prompt in sorted(by_prompt)])


def _half_width(rate: Ratio) -> float:
    return (rate.high - rate.low) / 2
