"""Turn matches and known pairs into queries to a judge, and its verdicts into records."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar

from adakd.config.hashing import digest
from adakd.judging.base import Judge, Question, Verdict
from adakd.judging.comparisons import Match
from adakd.judging.vetting import KnownPair
from adakd.store.records import JudgeReply, VerdictRecord, VettingRecord

MOST_ATTEMPTS = 3
"""How often a question is asked that fails for a reason that lasts, over all judgings."""
MatchVerdict = Literal["candidate", "opponent", "tie", "rated", "failed", "identical"]


class Query(Protocol):
    """A question for a judge, and the record made of its verdict."""

    @property
    def judge(self) -> Judge:
        """The judge to ask."""
        ...

    @property
    def key(self) -> str:
        """The key of the record."""
        ...

    @property
    def words(self) -> str:
        """Hash of the text shown to the judge: the same text is sent only once."""
        ...

    @property
    def attempts(self) -> int:
        """How often it was asked before and failed for a reason that lasts."""
        ...

    @property
    def question(self) -> Question:
        """The question shown to the judge."""
        ...

    def record(self, verdict: Verdict, reused: bool = False) -> VerdictRecord | VettingRecord:
        """Return the record of a verdict."""
        ...


@dataclass(frozen=True, slots=True)
class MatchQuery:
    """A match in one order."""

    judge: Judge
    match: Match
    candidate_first: bool
    words: str
    key: str
    attempts: int = 0

    @property
    def question(self) -> Question:
        """Both answers, or the first one for a rating judge."""
        return self.match.question(self.candidate_first, self.judge.backend.traits().asks)

    def record(self, verdict: Verdict, reused: bool = False) -> VerdictRecord:
        """Return the record, with candidate and opponent in place of first and second."""
        return self._record(_side(verdict, self.candidate_first), verdict, reused)

    def identical(self) -> VerdictRecord:
        """Return the record of a match between identical answers."""
        return self._record("identical", Verdict("tie"), reused=False)

    def _record(self, result: MatchVerdict, verdict: Verdict, reused: bool) -> VerdictRecord:
        comparison = self.match.comparison
        return VerdictRecord(
            key=self.key,
            judge=self.judge.id,
            against=comparison.against,
            candidate=comparison.candidate.cell,
            opponent=comparison.opponent and comparison.opponent.cell,
            task=self.match.task,
            item=self.match.item,
            sampling_seed=comparison.candidate.sampling_seed,
            candidate_first=self.candidate_first,
            verdict=result,
            probabilities=_in_order(verdict.probabilities, self.candidate_first),
            words=self.words,
            reused=reused,
            **_reply_fields(verdict, self.attempts),
        )


@dataclass(frozen=True, slots=True)
class VettingQuery:
    """A known pair in one order."""

    judge: Judge
    pair: KnownPair
    right_first: bool
    words: str
    key: str
    attempts: int = 0

    @property
    def question(self) -> Question:
        """Both answers, or the first one for a rating judge."""
        return self.pair.question(self.right_first, self.judge.backend.traits().asks)

    def record(self, verdict: Verdict, reused: bool = False) -> VettingRecord:
        """Return the record, with right and wrong in place of first and second."""
        names: dict[MatchVerdict, Literal["right", "wrong", "tie", "rated", "failed"]] = {
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
            **_reply_fields(verdict, self.attempts),
        )


Q = TypeVar("Q", MatchQuery, VettingQuery)


def match_queries(judge: Judge, match: Match) -> Iterator[MatchQuery]:
    """Yield both orders of a match, which one first being drawn by the item.

    Identical answers make a single query, which is never sent.
    """
    comparison, asks = match.comparison, judge.backend.traits().asks
    cells = comparison.candidate.cell.key, comparison.opponent and comparison.opponent.cell.key
    place = match.task, match.item, comparison.candidate.sampling_seed
    drawn = int(digest("order", place), 16) % 2 == 0
    for candidate_first in (drawn,) if match.identical else (drawn, not drawn):
        # all that the verdict depends on: other texts under the same ids are another question
        words = digest(judge.id, match.question(candidate_first, asks))
        key = digest("verdict", comparison.against, cells, place, words, candidate_first)
        yield MatchQuery(judge, match, candidate_first, words, key)


def again(query: Q, known: JudgeReply | None) -> Q | None:
    """Return a query whose record is a failure, or missing, to be asked again.

    None if it was asked as often as it may be. Another name makes it another judge, which is asked
    afresh.
    """
    if known is None:
        return query
    attempts = known.attempts
    return replace(query, attempts=attempts) if attempts < MOST_ATTEMPTS else None


def vetting_queries(judge: Judge, pair: KnownPair) -> Iterator[VettingQuery]:
    """Yield both orders of a known pair."""
    asks = judge.backend.traits().asks
    for right_first in (True, False):
        words = digest(judge.id, pair.question(right_first, asks))
        key = digest("vetting", pair.task, pair.item, pair.case, words, right_first)
        yield VettingQuery(judge, pair, right_first, words, key)


def verdict_of(record: VerdictRecord) -> Verdict:
    """Return the verdict of a record, for another match with the same text."""
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
        probabilities=_in_order(record.probabilities, record.candidate_first),
        score=record.score,
        prompt_cut=record.prompt_cut,
    )


def _side(verdict: Verdict, candidate_first: bool) -> MatchVerdict:
    if verdict.choice == "first" or verdict.choice == "second":
        return "candidate" if (verdict.choice == "first") == candidate_first else "opponent"
    return verdict.choice


def _in_order(
    probabilities: tuple[float, float, float] | None, straight: bool
) -> tuple[float, float, float] | None:
    if probabilities is None or straight:
        return probabilities
    first, second, tie = probabilities
    return second, first, tie


def _reply_fields(verdict: Verdict, attempts: int) -> dict[str, object]:
    """Return the fields that all records of a verdict share; lone surrogates are replaced."""
    passes = verdict.choice == "failed" and not verdict.lasts
    return {
        "reason": verdict.reason.encode("utf-8", "replace").decode(),
        "score": verdict.score,
        "seconds": verdict.seconds,
        "prompt_tokens": verdict.prompt_tokens,
        "completion_tokens": verdict.completion_tokens,
        "prompt_cut": verdict.prompt_cut,
        "attempts": attempts + (not passes),
    }
