"""Duels and known pairs -> the questions of a judge, and its verdicts -> records."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from adakd.config.hashing import digest
from adakd.judging.base import Judge, Question, Verdict
from adakd.judging.comparisons import Duel
from adakd.judging.vetting import KnownPair
from adakd.store.records import Said, VerdictRecord, VettingRecord

Sides = Literal["candidate", "opponent", "tie", "rated", "failed", "identical"]


class Asking(Protocol):
    """A question that a judge is to be asked, and how its verdict is kept."""

    @property
    def judge(self) -> Judge:
        """Who is asked."""
        ...

    @property
    def key(self) -> str:
        """The key of the record."""
        ...

    @property
    def words(self) -> str:
        """Hash of what the judge is shown: the same words are asked once."""
        ...

    @property
    def question(self) -> Question:
        """What the judge is shown."""
        ...

    def record(self, verdict: Verdict, reused: bool = False) -> VerdictRecord | VettingRecord:
        """Return the verdict as it is stored."""
        ...


@dataclass(frozen=True, slots=True)
class DuelAsking:
    """A duel in one order."""

    judge: Judge
    duel: Duel
    candidate_first: bool
    words: str
    key: str

    @property
    def question(self) -> Question:
        """The two answers, or for a judge that rates the first one."""
        return self.duel.question(self.candidate_first, self.judge.backend.traits().asks)

    def record(self, verdict: Verdict, reused: bool = False) -> VerdictRecord:
        """Return the verdict on candidate and opponent instead of first and second."""
        return self._record(_side(verdict, self.candidate_first), verdict, reused)

    def identical(self) -> VerdictRecord:
        """Return the record of a duel between two answers that are the same."""
        return self._record("identical", Verdict("tie"), reused=False)

    def _record(self, said: Sides, verdict: Verdict, reused: bool) -> VerdictRecord:
        pair = self.duel.pair
        return VerdictRecord(
            key=self.key,
            judge=self.judge.id,
            against=pair.against,
            candidate=pair.candidate.cell,
            opponent=pair.opponent and pair.opponent.cell,
            task=self.duel.task,
            item=self.duel.item,
            sampling_seed=pair.candidate.sampling_seed,
            candidate_first=self.candidate_first,
            verdict=said,
            probabilities=_turned(verdict.probabilities, self.candidate_first),
            words=self.words,
            reused=reused,
            **_said(verdict),
        )


@dataclass(frozen=True, slots=True)
class VettingAsking:
    """A pair whose answer is known, in one order."""

    judge: Judge
    pair: KnownPair
    right_first: bool
    words: str
    key: str

    @property
    def question(self) -> Question:
        """The two answers, or for a judge that rates the first one."""
        return self.pair.question(self.right_first, self.judge.backend.traits().asks)

    def record(self, verdict: Verdict, reused: bool = False) -> VettingRecord:
        """Return the verdict on right and wrong instead of first and second."""
        names: dict[Sides, Literal["right", "wrong", "tie", "rated", "failed"]] = {
            "candidate": "right",
            "opponent": "wrong",
            "tie": "tie",
            "rated": "rated",
            "failed": "failed",
        }
        return VettingRecord(
            key=self.key,
            judge=self.judge.id,
            task=self.pair.task,
            item=self.pair.item,
            case=self.pair.case,
            right_first=self.right_first,
            length_difference=self.pair.length_difference,
            verdict=names[_side(verdict, self.right_first)],
            **_said(verdict),
        )


def duel_askings(judge: Judge, duel: Duel) -> Iterator[DuelAsking]:
    """Yield the questions of a duel: both orders, the first of them drawn by the item.

    Answers that are the same make one asking, which is never sent.
    """
    pair, asks = duel.pair, judge.backend.traits().asks
    cells = pair.candidate.cell.key, pair.opponent and pair.opponent.cell.key
    place = duel.task, duel.item, pair.candidate.sampling_seed
    drawn = int(digest("order", place), 16) % 2 == 0
    for candidate_first in (drawn,) if duel.identical else (drawn, not drawn):
        # All that decides the verdict: other texts under the same ids are another question.
        words = digest(judge.id, duel.question(candidate_first, asks))
        key = digest("verdict", pair.against, cells, place, words, candidate_first)
        yield DuelAsking(judge, duel, candidate_first, words, key)


def vetting_askings(judge: Judge, pair: KnownPair) -> Iterator[VettingAsking]:
    """Yield the questions of a known pair in both orders."""
    asks = judge.backend.traits().asks
    for right_first in (True, False):
        words = digest(judge.id, pair.question(right_first, asks))
        key = digest("vetting", pair.task, pair.item, pair.case, words, right_first)
        yield VettingAsking(judge, pair, right_first, words, key)


def verdict_of(record: VerdictRecord) -> Verdict:
    """Return what the judge said to the words of a record, to use it for another pair."""
    kept: Mapping[str, Literal["tie", "rated", "failed"]] = {
        "tie": "tie",
        "rated": "rated",
        "failed": "failed",
    }
    first = (record.verdict == "candidate") == record.candidate_first
    return Verdict(
        kept.get(record.verdict) or ("first" if first else "second"),
        reason=record.reason,
        seconds=record.seconds,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        probabilities=_turned(record.probabilities, record.candidate_first),
        score=record.score,
    )


def _side(verdict: Verdict, candidate_first: bool) -> Sides:
    if verdict.choice == "first" or verdict.choice == "second":
        return "candidate" if (verdict.choice == "first") == candidate_first else "opponent"
    return verdict.choice


def _turned(
    probabilities: tuple[float, float, float] | None, straight: bool
) -> tuple[float, float, float] | None:
    if probabilities is None or straight:
        return probabilities
    first, second, tie = probabilities
    return second, first, tie


def _said(verdict: Verdict) -> dict[str, object]:
    """Return the fields that every record of a verdict has; half a character cannot be stored."""
    whole = verdict.reason.encode("utf-8", "replace").decode()
    return {name: getattr(verdict, name) for name in Said.model_fields} | {"reason": whole}
