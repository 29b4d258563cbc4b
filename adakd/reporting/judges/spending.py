"""Judging cost: requests, tokens, money and time of every judge."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from adakd.config.judge import Prices
from adakd.reporting.sections.base import Context
from adakd.store.records import JudgeRecord, JudgeReply, VerdictRecord, VettingRecord

MILLION = 1_000_000


@dataclass(frozen=True)
class Spending:
    """The requests to one judge whose verdicts are in the records."""

    judge: str
    """Its name."""
    requests: int
    vetting: int
    """Those of the vetting."""
    reused: int
    """Verdicts taken from an earlier request with the same words."""
    prompt_tokens: int | None
    """None if no response reports tokens."""
    completion_tokens: int | None
    unreported: int
    """Requests without reported tokens; their cost is not counted."""
    cost: float | None
    """None without prices or tokens."""
    vetting_cost: float | None
    currency: str
    median_seconds: float
    p95_seconds: float


@dataclass(frozen=True)
class JudgingCost:
    """The spending of all judges that were asked."""

    rows: tuple[Spending, ...]

    @property
    def has_prices(self) -> bool:
        """Whether the cost of any judge is known."""
        return any(row.cost is not None for row in self.rows)

    @property
    def has_tokens(self) -> bool:
        """Whether any judge reports tokens."""
        return any(row.prompt_tokens is not None for row in self.rows)


def spending(context: Context) -> JudgingCost | None:
    """Add up the requests to every judge; None if there were none."""
    verdicts, vetting = context.verdicts, context.store.of(VettingRecord)
    found = (
        spending_of(judge, verdicts.name(judge.key), verdicts.records, vetting)
        for judge in verdicts.judges
    )
    rows = tuple(one for one in found if one)
    return JudgingCost(rows) if rows else None


def spending_of(
    judge: JudgeRecord,
    name: str,
    verdicts: Iterable[VerdictRecord],
    vetting: Iterable[VettingRecord],
) -> Spending | None:
    """Add up the requests to a judge; None if there were none, as for a jury.

    Args:
        judge: the judge.
        name: its name on the page.
        verdicts: of all judges.
        vetting: of all judges.
    """
    mine = [r for r in verdicts if r.judge == judge.key and r.verdict != "identical"]
    asked = [record for record in mine if not record.reused]
    vetted = [record for record in vetting if record.judge == judge.key and not _is_copy(record)]
    requests: list[JudgeReply] = [*asked, *vetted]
    if not requests:
        return None
    seconds = [record.seconds for record in requests]
    return Spending(
        judge=name,
        requests=len(requests),
        vetting=len(vetted),
        reused=len(mine) - len(asked),
        prompt_tokens=_sum([record.prompt_tokens for record in requests]),
        completion_tokens=_sum([record.completion_tokens for record in requests]),
        unreported=sum(record.prompt_tokens is None for record in requests),
        cost=_cost(requests, judge.prices),
        vetting_cost=_cost(vetted, judge.prices),
        currency=judge.prices.currency if judge.prices else "",
        median_seconds=float(np.median(seconds)),
        p95_seconds=float(np.quantile(seconds, 0.95)),
    )


def _is_copy(record: VettingRecord) -> bool:
    """Whether a vetting verdict was copied: two equal answers are the same in any order."""
    return record.case == "same" and not record.right_first


def _cost(requests: Sequence[JudgeReply], prices: Prices | None) -> float | None:
    """Return the price of the requests with reported tokens; None if it is not known."""
    known = [record for record in requests if record.prompt_tokens is not None]
    if prices is None or not known:
        return None
    prompt = sum(record.prompt_tokens or 0 for record in known)
    completion = sum(record.completion_tokens or 0 for record in known)
    return (prompt * prices.prompt + completion * prices.completion) / MILLION


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
