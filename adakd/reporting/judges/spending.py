"""What judging took: requests, tokens, money and time of every judge."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from adakd.config.judge import Prices
from adakd.store.records import JudgeRecord, JudgeReply, VerdictRecord, VettingRecord

MILLION = 1_000_000


@dataclass(frozen=True)
class Spending:
    """The requests to one judge whose verdicts are in the records."""

    judge: str
    requests: int
    vetting: int
    """Requests of the vetting, among them."""
    reused: int
    """Verdicts taken from an earlier request with the same words."""
    prompt_tokens: int | None
    """None where no request told."""
    completion_tokens: int | None
    untold: int
    """Requests that did not tell their tokens; their cost is not counted."""
    cost: float | None
    """None without prices or tokens."""
    vetting_cost: float | None
    currency: str
    median_seconds: float
    p95_seconds: float


def spending(
    judge: JudgeRecord, verdicts: Iterable[VerdictRecord], vetting: Iterable[VettingRecord]
) -> Spending | None:
    """Add up the requests to a judge; None where there were none, as of a jury.

    Args:
        judge: whose requests.
        verdicts: of all judges.
        vetting: of all judges.
    """
    mine = [r for r in verdicts if r.judge == judge.key and r.verdict != "identical"]
    asked = [record for record in mine if not record.reused]
    tried = [record for record in vetting if record.judge == judge.key and not _is_copy(record)]
    requests: list[JudgeReply] = [*asked, *tried]
    if not requests:
        return None
    seconds = [record.seconds for record in requests]
    return Spending(
        judge=judge.key,
        requests=len(requests),
        vetting=len(tried),
        reused=len(mine) - len(asked),
        prompt_tokens=_sum([record.prompt_tokens for record in requests]),
        completion_tokens=_sum([record.completion_tokens for record in requests]),
        untold=sum(record.prompt_tokens is None for record in requests),
        cost=_cost(requests, judge.prices),
        vetting_cost=_cost(tried, judge.prices),
        currency=judge.prices.currency if judge.prices else "",
        median_seconds=float(np.median(seconds)),
        p95_seconds=float(np.quantile(seconds, 0.95)),
    )


def _is_copy(record: VettingRecord) -> bool:
    """Whether a vetting verdict was not asked for: two equal answers are the same in any order."""
    return record.case == "same" and not record.right_first


def _cost(requests: Sequence[JudgeReply], prices: Prices | None) -> float | None:
    """Return the price of the requests that told their tokens; None where that is not known."""
    known = [record for record in requests if record.prompt_tokens is not None]
    if prices is None or not known:
        return None
    prompt = sum(record.prompt_tokens or 0 for record in known)
    completion = sum(record.completion_tokens or 0 for record in known)
    return (prompt * prices.prompt + completion * prices.completion) / MILLION


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
