"""What a judging would take, told from its questions alone; asks nothing."""

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from adakd.config.judge import Prices
from adakd.judging.base import Judge, Question, Tokens
from adakd.judging.queries import Asking
from adakd.store import Store
from adakd.store.records import VerdictRecord, VettingRecord

MILLION = 1_000_000
_Spoken = VerdictRecord | VettingRecord
_R = TypeVar("_R", VerdictRecord, VettingRecord)


@dataclass(frozen=True)
class Cost:
    """What one judge would be asked, and what that takes; None where it cannot be told."""

    judge: str
    """The judge's id."""
    questions: int
    """To ask about the answers: two for an item, one for each order."""
    vetting: int
    """To ask about pairs whose answer is known."""
    known: int
    """Questions answered before."""
    reused: int
    """Questions in the same words as another one, which is asked or was: they cost nothing."""
    identical: int
    """Pairs of the same answer twice, which no judge is asked about."""
    prompt_tokens: int | None
    """About so many."""
    completion_tokens: int | None
    """At most."""
    cost: float | None
    """At most; None without prices."""
    expected_cost: float | None
    """With completions as long as this judge's were so far; None where there are none."""
    currency: str | None
    """None without prices."""
    seconds: float | None
    """At the speed of this judge so far."""


def cost(
    judge: Judge,
    questions: Iterable[Asking],
    vetting: Iterable[Asking],
    store: Store,
    settled: Iterable[VerdictRecord] = (),
) -> Cost:
    """Return what it would take to ask one judge of a panel.

    Args:
        judge: whose part of all that is given counts.
        questions: that are open; those in the same words are asked once.
        vetting: the open ones of the vetting.
        store: what the judge said so far tells how fast it is and how long it speaks.
        settled: verdicts on the answers that need no asking, in the store or still to be put there.
    """
    mine = [asking for asking in questions if asking.judge.id == judge.id]
    once = _distinct(mine)
    vetted = _distinct(asking for asking in vetting if asking.judge.id == judge.id)
    verdicts = _of(judge, store.of(VerdictRecord))
    why = _settled(_of(judge, settled), {record.key for record in verdicts})
    asked: list[_Spoken] = [*filter(_was_asked, verdicts)]
    asked += _of(judge, store.of(VettingRecord))
    to_ask = once + vetted
    most = _tokens(judge, to_ask)
    usual = most and _usual(most, asked, len(to_ask))
    return Cost(
        judge=judge.id,
        questions=len(once),
        vetting=len(vetted),
        known=why["known"],
        reused=why["reused"] + len(mine) - len(once),
        identical=why["identical"],
        prompt_tokens=most.prompt if most else None,
        completion_tokens=most.completion if most else None,
        cost=_price(most, judge.prices),
        expected_cost=_price(usual, judge.prices),
        currency=judge.prices.currency if judge.prices else None,
        seconds=_seconds(judge, asked, len(to_ask)),
    )


def _of(judge: Judge, records: Iterable[_R]) -> list[_R]:
    return [record for record in records if record.judge == judge.id]


def _settled(records: Iterable[VerdictRecord], stored: Set[str]) -> Counter[str]:
    """Count the verdicts that need no asking, by why."""
    found: Counter[str] = Counter()
    for record in records:
        source = "known" if record.key in stored else "reused"
        found["identical" if record.verdict == "identical" else source] += 1
    return found


def _was_asked(record: VerdictRecord) -> bool:
    """Tell whether a record is of a call and not of a verdict that cost nothing."""
    return record.verdict != "identical" and not record.reused


def _distinct(askings: Iterable[Asking]) -> list[Question]:
    return list({asking.words: asking.question for asking in askings}.values())


def _tokens(judge: Judge, questions: Sequence[Question]) -> Tokens | None:
    """Return what all questions take together; None if any is not counted."""
    prompt = completion = 0
    for question in questions:
        one = judge.backend.tokens(question)
        if one is None:
            return None
        prompt += one.prompt
        completion += one.completion
    return Tokens(prompt, completion)


def _usual(most: Tokens, said: Sequence[_Spoken], questions: int) -> Tokens | None:
    """Return the tokens with completions of the mean length so far."""
    lengths = [r.completion_tokens for r in said if r.completion_tokens is not None]
    return Tokens(most.prompt, round(fmean(lengths) * questions)) if lengths else None


def _price(tokens: Tokens | None, prices: Prices | None) -> float | None:
    if tokens is None or prices is None:
        return None
    return (tokens.prompt * prices.prompt + tokens.completion * prices.completion) / MILLION


def _seconds(judge: Judge, said: Sequence[_Spoken], questions: int) -> float | None:
    """Return the time of all questions at the mean latency; a failed call says nothing of it."""
    latencies = [record.seconds for record in said if record.verdict != "failed"]
    if not latencies:
        return None
    at_once = max(1, min(judge.backend.traits().concurrency, questions))
    return fmean(latencies) * questions / at_once
