"""What is known of each duel while judges are asked, and what it adds up to."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from adakd.config.hashing import digest
from adakd.config.judge import Outcome
from adakd.judging.comparisons import REFERENCE, Duel
from adakd.judging.judge_files import Panel
from adakd.judging.outcomes import combined, outcome
from adakd.judging.queries import DuelAsking
from adakd.stats import POINTS, Ratio, always_valid
from adakd.store.records import StopRecord, VerdictRecord

Contest = tuple[str, str, str]
"""What the opponent was called, and the methods of candidate and opponent."""


@dataclass(slots=True)
class Bout:
    """A duel before all judges of a panel: what they said, and what they are to be asked."""

    prompt: int
    """Its place in the order in which prompts are judged."""
    duel: Duel
    said: list[VerdictRecord] = field(default_factory=list)
    unwritten: list[VerdictRecord] = field(default_factory=list)
    """Of those said, the ones that need no judge and are not in the store yet."""
    open: list[DuelAsking] = field(default_factory=list)
    waiting: int = 0

    @property
    def contest(self) -> Contest:
        """The win rate that this duel counts for."""
        pair = self.duel.pair
        opponent = pair.opponent.cell.method if pair.opponent else REFERENCE
        return pair.against, pair.candidate.cell.method, opponent

    @property
    def complete(self) -> bool:
        """Whether every question has its verdict."""
        return not self.waiting

    def know(self, record: VerdictRecord) -> None:
        """Take a verdict from the store."""
        self.said.append(record)

    def add(self, record: VerdictRecord) -> None:
        """Take a verdict that needs no asking."""
        self.said.append(record)
        self.unwritten.append(record)

    def ask(self, asking: DuelAsking) -> None:
        """Take a question that is to be asked."""
        self.open.append(asking)
        self.waiting += 1

    def land(self, record: VerdictRecord) -> None:
        """Take the verdict on an open question."""
        self.said.append(record)
        self.waiting -= 1


class Tally:
    """Outcomes of the duels that are through, by judge; with `until`, also when to stop."""

    def __init__(self, panel: Panel, until: float | None) -> None:
        self.until = until
        self.judges = [judge.id for judge in panel.judges]
        self.failure: str | None = None
        self._members = list(self.judges)
        if len(panel.judges) > 1:
            self.judges.append(panel.id)
        self.outcomes: dict[str, Counter[Outcome]] = {judge: Counter() for judge in self.judges}
        self._points: dict[Contest, dict[int, list[float]]] = {}
        self._reached: set[Contest] = set()

    def wants(self, bout: Bout) -> bool:
        """Whether a duel can still move its win rate."""
        return bout.contest not in self._reached

    def add(self, bout: Bout) -> None:
        """Count a duel that is through, and let go of its texts."""
        by_judge = {
            judge: [record for record in bout.said if record.judge == judge]
            for judge in self._members
        }
        if len(by_judge) > 1:
            jury = self.judges[-1]
            by_judge[jury] = combined(list(by_judge.values()), jury)
        for judge, orders in by_judge.items():
            self.outcomes[judge][outcome(orders)] += 1
        failed = (record.reason for record in bout.said if record.verdict == "failed")
        self.failure = self.failure or next(failed, None)
        points = POINTS.get(outcome(by_judge[self.judges[-1]]))
        if points is not None:
            by_prompt = self._points.setdefault(bout.contest, {})
            by_prompt.setdefault(bout.prompt, []).append(points)
        bout.said, bout.open = [], []

    def look(self) -> None:
        """Find the contests whose interval is narrow enough by now."""
        for contest, by_prompt in self._points.items():
            if self.until is not None and _half_width(_rate(by_prompt)) <= self.until:
                self._reached.add(contest)

    def stops(self, available: int) -> Iterator[StopRecord]:
        """Yield where each contest stands, of so many prompts; nothing without `until`."""
        if self.until is None:
            return
        for contest, by_prompt in self._points.items():
            rate, (against, method, opponent) = _rate(by_prompt), contest
            yield StopRecord(
                key=digest("stop", self.judges[-1], contest),
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
    """Return the win rate so far; prompts in the order drawn, whichever was answered first."""
    return always_valid([fmean(by_prompt[prompt]) for prompt in sorted(by_prompt)])


def _half_width(rate: Ratio) -> float:
    return (rate.high - rate.low) / 2
