"""Estimate the cost of a judging from its open queries; nothing is asked."""

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from adakd.config.judge import Prices
from adakd.judging.base import Judge, Question, Tokens
from adakd.judging.queries import Query
from adakd.store import Store
from adakd.store.records import VerdictRecord, VettingRecord

MILLION = 1_000_000
_Reply = VerdictRecord | VettingRecord
_R = TypeVar("_R", VerdictRecord, VettingRecord)


@dataclass(frozen=True)
class Cost:
    """Queries to one judge and their cost; None where it cannot be estimated."""

    judge: str
    """The judge's id."""
    questions: int
    """Open queries about the answers: two for an item, one for each order."""
    vetting: int
    """Open queries about pairs with a known answer."""
    known: int
    """Queries answered before."""
    reused: int
    """Queries with the same text as another one, sent now or before: they cost nothing."""
    identical: int
    """Pairs of identical answers, which are never sent."""
    prompt_tokens: int | None
    """An estimate."""
    completion_tokens: int | None
    """Upper bound."""
    cost: float | None
    """Upper bound; None without prices."""
    expected_cost: float | None
    """With this judge's mean completion length so far; None without any."""
    currency: str | None
    """None without prices."""
    seconds: float | None
    """At this judge's mean latency so far."""


def cost(
    judge: Judge,
    queries: Iterable[Query],
    vetting: Iterable[Query],
    store: Store,
    settled: Iterable[VerdictRecord] = (),
) -> Cost:
    """Estimate the cost of asking one judge of a panel.

    Args:
        judge: only its share of the other arguments counts.
        queries: open ones of the panel; those with the same text are sent once.
        vetting: open ones of the vetting.
        store: its verdicts give the judge's latency and completion length.
        settled: verdicts on the answers that need no query, whether stored yet or not.
    """
    mine = [query for query in queries if query.judge.id == judge.id]
    once = _distinct(mine)
    vetted = _distinct(query for query in vetting if query.judge.id == judge.id)
    verdicts = _of(judge, store.of(VerdictRecord))
    why = _settled(_of(judge, settled), {record.key for record in verdicts})
    replies: list[_Reply] = [*filter(_was_asked, verdicts)]
    replies += _of(judge, store.of(VettingRecord))
    to_ask = once + vetted
    most = _tokens(judge, to_ask)
    usual = most and _usual(most, replies, len(to_ask))
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
        seconds=_seconds(judge, replies, len(to_ask)),
    )


def _of(judge: Judge, records: Iterable[_R]) -> list[_R]:
    return [record for record in records if record.judge == judge.id]


def _settled(records: Iterable[VerdictRecord], stored: Set[str]) -> Counter[str]:
    """Count the verdicts that need no query, by reason."""
    found: Counter[str] = Counter()
    for record in records:
        source = "known" if record.key in stored else "reused"
        found["identical" if record.verdict == "identical" else source] += 1
    return found


def _was_asked(record: VerdictRecord) -> bool:
    """Tell whether a verdict was asked for, rather than settled without a query."""
    return record.verdict != "identical" and not record.reused


def _distinct(queries: Iterable[Query]) -> list[Question]:
    return list({query.words: query.question for query in queries}.values())


def _tokens(judge: Judge, questions: Sequence[Question]) -> Tokens | None:
    """Return the tokens of all questions together; None if a question has no count."""
    prompt = completion = 0
    for question in questions:
        one = judge.backend.tokens(question)
        if one is None:
            return None
        prompt += one.prompt
        completion += one.completion
    return Tokens(prompt, completion)


def _usual(most: Tokens, replies: Sequence[_Reply], questions: int) -> Tokens | None:
    """Return the tokens at the mean completion length so far."""
    lengths = [r.completion_tokens for r in replies if r.completion_tokens is not None]
    return Tokens(most.prompt, round(fmean(lengths) * questions)) if lengths else None


def _price(tokens: Tokens | None, prices: Prices | None) -> float | None:
    if tokens is None or prices is None:
        return None
    return (tokens.prompt * prices.prompt + tokens.completion * prices.completion) / MILLION


def _seconds(judge: Judge, replies: Sequence[_Reply], questions: int) -> float | None:
    """Return the time of all questions at the mean latency, failed calls left out."""
    latencies = [record.seconds for record in replies if record.verdict != "failed"]
    if not latencies:
        return None
    at_once = max(1, min(judge.backend.traits().concurrency, questions))
    return fmean(latencies) * questions / at_once
