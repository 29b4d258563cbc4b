"""Asks a judge about the answers of a run: both orders, each verdict stored as it lands."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from time import perf_counter
from typing import Literal

from adakd.errors import AdakdError
from adakd.judging.judge import Judge, JudgeError, Verdict
from adakd.judging.pairs import TWIN, Duel, Items, duels, pairs
from adakd.planning import digest
from adakd.results import Outcome, ScoreRecord, Store, VerdictRecord
from adakd.statistics import outcome

OnProgress = Callable[[int, int], None]
"""Called with the number of questions answered, and of those to ask."""


@dataclass(frozen=True)
class Summary:
    """What a judging came to, over all its pairs."""

    judge: str
    against: str
    pairs: int
    outcomes: dict[Outcome, int]
    """Items by outcome; a failed one is asked again by the next judging."""
    asked: int
    """Questions asked this time: two for an item, one for each order."""
    seconds: float
    failure: str | None
    """Why the first of the failed questions failed."""


@dataclass(frozen=True, slots=True)
class _Asking:
    """One question of a judging: a duel in one order."""

    judge: str
    against: str
    duel: Duel
    candidate_first: bool
    key: str

    def record(self, verdict: Verdict) -> VerdictRecord:
        """Return the verdict as it is stored."""
        candidate, opponent = self.duel.pair.candidate, self.duel.pair.opponent
        return VerdictRecord(
            key=self.key,
            judge=self.judge,
            against=self.against,
            candidate=candidate.cell,
            opponent=opponent and opponent.cell,
            task=candidate.task,
            item=self.duel.item,
            sampling_seed=candidate.sampling_seed,
            candidate_first=self.candidate_first,
            verdict=self._said(verdict),
            reason=verdict.reason,
            seconds=verdict.seconds,
            prompt_tokens=verdict.prompt_tokens,
            completion_tokens=verdict.completion_tokens,
        )

    def _said(self, verdict: Verdict) -> Literal["candidate", "opponent", "tie", "failed"]:
        if verdict.choice == "tie" or verdict.choice == "failed":
            return verdict.choice
        return "candidate" if (verdict.choice == "first") == self.candidate_first else "opponent"


def check(judge: Judge) -> None:
    """Find out whether a judge can be asked at all.

    Raises:
        AdakdError: it cannot: no server, no key, an unknown model.
    """
    asyncio.run(_ask_all(judge, [], lambda asking, verdict: None))


def judge_answers(
    store: Store,
    judge: Judge,
    items: Items,
    against: str = TWIN,
    limit: int | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Summary:
    """Have the answers of a run judged; what was answered before is not asked again.

    Args:
        store: the run; verdicts are added to it.
        judge: from `load_judge`.
        items: the words of the items.
        against: as in `pairs`.
        limit: items of a task, if not all.
        on_progress: told before the first question and after each verdict.

    Raises:
        AdakdError: nothing to compare, or the judge cannot be asked (any more); the verdicts
            that have landed stay in the store.
    """
    start = perf_counter()
    found = pairs(store.current(ScoreRecord), against)
    askings = list(_askings(duels(found, items, limit), judge.id, against))
    todo = list(_unanswered(store, askings))
    landed = count(1)

    def land(asking: _Asking, verdict: Verdict) -> None:
        store.add(asking.record(verdict))
        on_progress(next(landed), len(todo))

    if todo:
        on_progress(0, len(todo))
        asyncio.run(_ask_all(judge, todo, land))
    records = [
        [record for asking in orders if (record := store.get(VerdictRecord, asking.key))]
        for _, orders in groupby(askings, key=lambda asking: id(asking.duel))
    ]
    failures = (r.reason for orders in records for r in orders if r.verdict == "failed")
    return Summary(
        judge=judge.id,
        against=against,
        pairs=len(found),
        outcomes=dict(Counter(outcome([r.verdict for r in orders]) for orders in records)),
        asked=len(todo),
        seconds=perf_counter() - start,
        failure=next(failures, None),
    )


def _askings(asked: Iterable[Duel], judge: str, against: str) -> Iterator[_Asking]:
    for duel in asked:
        candidate, opponent = duel.pair.candidate, duel.pair.opponent
        cells = candidate.cell.key, opponent and opponent.cell.key
        place = candidate.task, duel.item, candidate.sampling_seed
        for candidate_first in (True,) if duel.identical else (True, False):
            # All that decides the verdict: other texts under the same ids are another question.
            words = duel.question(candidate_first)
            key = digest("verdict", judge, against, cells, place, words, candidate_first)
            yield _Asking(judge, against, duel, candidate_first, key)


def _unanswered(store: Store, askings: Iterable[_Asking]) -> Iterator[_Asking]:
    """Yield what the judge is to be asked, and store what needs no judge."""
    for asking in askings:
        known = store.get(VerdictRecord, asking.key)
        if known is not None and known.verdict != "failed":
            continue
        if asking.duel.identical:
            same = asking.record(Verdict("tie")).model_copy(update={"verdict": "identical"})
            store.add(same)
        else:
            yield asking


async def _ask_all(
    judge: Judge, todo: Sequence[_Asking], land: Callable[[_Asking, Verdict], None]
) -> None:
    """Ask with as many workers as the judge bears; the first error ends them all."""
    waiting = iter(todo)
    try:
        async with judge.backend.open() as ask, asyncio.TaskGroup() as workers:

            async def work() -> None:
                for asking in waiting:
                    land(asking, await ask(asking.duel.question(asking.candidate_first)))

            for _ in range(min(judge.backend.concurrency, len(todo))):
                workers.create_task(work())
    except BaseExceptionGroup as group:
        raise _named(judge, group.exceptions[0]) from None
    except JudgeError as error:
        raise _named(judge, error) from None


def _named(judge: Judge, error: BaseException) -> BaseException:
    return AdakdError(f"{judge.file}: {error}") if isinstance(error, JudgeError) else error
