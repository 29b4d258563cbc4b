"""Have judges compare answers in both orders, storing each verdict as it arrives."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from adakd.config.hashing import digest
from adakd.config.judge import Outcome
from adakd.errors import AdakdError
from adakd.judging.base import Judge, JudgeError, Outage, Question, Session, Verdict
from adakd.judging.calibration import calibrations
from adakd.judging.comparisons import (
    Comparison,
    Items,
    Match,
    Subject,
    chance_comparisons,
    comparisons,
    matches,
)
from adakd.judging.cost import Cost, cost
from adakd.judging.judge_files import JURY, Panel
from adakd.judging.queries import (
    MatchQuery,
    Query,
    VettingQuery,
    again,
    match_queries,
    verdict_of,
    vetting_queries,
)
from adakd.judging.scoreboard import MatchState, Scoreboard
from adakd.judging.vetting import KnownPair, known_pairs
from adakd.planning import PLAIN
from adakd.store import Store
from adakd.store.records import ExampleRecord, JudgeRecord, VerdictRecord, VettingRecord

FIRST = 20
"""Questions on known pairs after which a judge without any verdict is asked nothing else."""
BATCH = 20
"""Prompts judged between two checks of the intervals."""

Q = TypeVar("Q", bound=Query)
OnProgress = Callable[[int, int], None]
"""Called with the number of queries answered so far and in total."""
OnNote = Callable[[str], None]
"""Called with a line for the user."""
_PAUSES = (1.0, 30.0)
"""Seconds before the first and before the later attempts of an outage; doubled in between."""


@dataclass(frozen=True)
class Summary:
    """Outcomes of a judging over all its comparisons, for one judge or the jury."""

    judge: str
    against: str
    comparisons: int
    outcomes: Mapping[Outcome, int]
    """Matches by outcome; the next judging asks failed ones again, a few times."""


@dataclass(frozen=True)
class JudgingResult:
    """The result of a judging."""

    summaries: tuple[Summary, ...]
    """One for each judge, and the jury's last if there are several judges."""
    asked: int
    """Queries sent this time, two for a match, one for each order; without vetting."""
    seconds: float
    failure: str | None
    """Why the first failed query failed."""


@dataclass(frozen=True)
class JudgingPlan:
    """All queries of a judging, and the verdicts that are known already."""

    comparisons: tuple[Comparison, ...]
    prompts: tuple[tuple[MatchState, ...], ...]
    """PromptTemplate by prompt."""
    vetting: tuple[VettingQuery, ...]
    """Open queries only."""

    def open(self, prompts: Iterable[Sequence[MatchState]]) -> list[MatchQuery]:
        """Return the open queries of some prompts."""
        return [query for prompt in prompts for state in prompt for query in state.open]


def check(panel: Panel) -> None:
    """Check that the judges of a panel can be asked.

    Raises:
        AdakdError: a judge cannot be asked: no server, no key or an unknown model.
    """

    async def open_all() -> None:
        async with AsyncExitStack() as stack:
            for judge in panel.judges:
                await _opened(stack, judge, None)

    _in_loop(open_all)


def plan_judging(
    store: Store, panel: Panel, subject: Subject, limit: int | None = None
) -> JudgingPlan:
    """Plan a judging without asking anything; the arguments are those of :func:`judge_answers`."""
    compared = comparisons(subject.scores, subject.against)
    if subject.against == PLAIN:
        compared += chance_comparisons(subject.scores)
    known = {record.key: record for record in store.of(VerdictRecord)}
    by_words = {record.words: record for record in known.values() if record.verdict != "failed"}
    prompts = [
        tuple(_state(number, match, panel, known, by_words) for match in prompt)
        for number, prompt in enumerate(matches(compared, subject.items, limit))
    ]
    vetting = _vetting(store, panel, subject.items)
    return JudgingPlan(tuple(compared), tuple(prompts), tuple(vetting))


def costs(store: Store, panel: Panel, subject: Subject, limit: int | None = None) -> list[Cost]:
    """Estimate the cost of a judging for each judge without asking anything."""
    plan = plan_judging(store, panel, subject, limit)
    queries = plan.open(plan.prompts)
    settled = [record for prompt in plan.prompts for state in prompt for record in state.verdicts]
    return [cost(judge, queries, plan.vetting, store, settled) for judge in panel.judges]


def judge_answers(
    store: Store,
    panel: Panel,
    subject: Subject,
    limit: int | None = None,
    until: float | None = None,
    on_progress: OnProgress = lambda done, total: None,
    on_note: OnNote = lambda text: None,
) -> JudgingResult:
    """Have answers judged; stored verdicts are not asked for again.

    Every judge is vetted first, on pairs with a known answer. With ``plain`` as the opponent, the
    training seeds of each plain method are compared with each other too, as a baseline for chance.

    Args:
        store: receives the verdicts.
        panel: from `load_panel`.
        subject: the answers and their opponent.
        limit: items of a task; all if None.
        until: stop asking about a method once the 95 % interval of its win rate, which is valid at
            any stopping time, reaches this half-width; a fraction of 1.
        on_progress: called before the first query and after each verdict.
        on_note: called when a judge stops answering, and when it answers again.

    Raises:
        AdakdError: there is nothing to compare, a judge gives no verdict on any pair with a known
            answer, or it cannot be asked (any more); verdicts that have arrived stay in the store.
    """
    start = perf_counter()
    plan = plan_judging(store, panel, subject, limit)
    scoreboard = Scoreboard(panel, until)
    judging = _Judging(store, panel, scoreboard, on_progress, on_note)
    shown = (state.match for prompt in plan.prompts for state in prompt)
    keep_texts(store, subject.items, dict.fromkeys((match.task, match.item) for match in shown))
    _in_loop(lambda: judging.run(plan))
    store.add(*scoreboard.stops(len(plan.prompts)))
    return JudgingResult(
        summaries=tuple(
            Summary(judge, subject.against, len(plan.comparisons), dict(outcomes))
            for judge, outcomes in scoreboard.outcomes.items()
        ),
        asked=judging.asked,
        seconds=perf_counter() - start,
        failure=scoreboard.failure,
    )


def ask_known_pairs(
    store: Store,
    panel: Panel,
    pairs: Mapping[str, Iterable[KnownPair]],
    on_progress: OnProgress = lambda done, total: None,
    on_note: OnNote = lambda text: None,
) -> None:
    """Have pairs with a known answer judged; stored verdicts are not asked for again.

    Args:
        store: receives the verdicts.
        panel: from `load_panel`.
        pairs: for each judge, by its id.
        on_progress: as in :func:`judge_answers`.
        on_note: as in :func:`judge_answers`.

    Raises:
        AdakdError: a judge gives no verdict on any of the first pairs, or cannot be asked.
    """
    queries = [
        query for judge in panel.judges for query in open_queries(store, judge, pairs[judge.id])
    ]
    judging = _Judging(store, panel, Scoreboard(panel, None), on_progress, on_note)
    _in_loop(lambda: judging.run(JudgingPlan((), (), tuple(queries))))


class _Judging:
    """A judging in progress."""

    def __init__(
        self,
        store: Store,
        panel: Panel,
        scoreboard: Scoreboard,
        show: OnProgress,
        note: OnNote,
    ) -> None:
        self.asked = 0
        self._store = store
        self._panel = panel
        self._scoreboard = scoreboard
        self._show = show
        self._note = note
        self._sessions: dict[str, Session] = {}
        self._outages: dict[str, _Outages] = {}
        self._done = self._total = 0

    async def run(self, plan: JudgingPlan) -> None:
        """Vet the judges, then ask them batch by batch until the intervals are narrow enough."""
        self._total = len(plan.vetting) + len(plan.open(plan.prompts))
        if self._total:
            self._show(0, self._total)
        async with AsyncExitStack() as stack:
            self._stack = stack
            self._keep_jury()
            for judge in self._panel.judges:
                self._keep_calibrations(judge)
            for part in (plan.vetting[:FIRST], plan.vetting[FIRST:]):
                await self._ask(part, self._keep_vetting)
                self._check_vetting()
            step = BATCH if self._scoreboard.until else max(1, len(plan.prompts))
            for start in range(0, len(plan.prompts), step):
                batch = [state for prompt in plan.prompts[start : start + step] for state in prompt]
                wanted = [state for state in batch if self._scoreboard.wants(state)]
                if wanted:
                    await self._judge(wanted)
                    self._scoreboard.update()

    async def _judge(self, states: Sequence[MatchState]) -> None:
        by_query = {query.key: state for state in states for query in state.open}

        def keep(query: MatchQuery, verdict: Verdict, reused: bool) -> None:
            record = query.record(verdict, reused)
            self._store.add(record)
            state = by_query[query.key]
            state.answer(record)
            self.asked += not reused
            if state.complete:
                self._scoreboard.add(state)

        for state in states:
            if state.unsaved:
                self._store.add(*state.unsaved)
            if state.complete:
                self._scoreboard.add(state)
        await self._ask([query for state in states for query in state.open], keep)

    def _check_vetting(self) -> None:
        """Stop before a judge is asked thousands of questions that it cannot answer.

        Raises:
            AdakdError: a judge gave no verdict on any pair with a known answer.
        """
        for judge in self._panel.judges:
            mine = [r for r in self._store.of(VettingRecord) if r.judge == judge.id]
            if mine and all(record.verdict == "failed" for record in mine):
                raise AdakdError(
                    f"{judge.file}: no verdict on any of {len(mine)} questions with a known "
                    "answer, so nothing else was asked: change its settings, such as prompt, "
                    "pattern, mode or max_tokens, or the model; the first failed with: "
                    f"{mine[0].reason[:500]}"
                )

    def _keep_vetting(self, query: VettingQuery, verdict: Verdict, reused: bool) -> None:
        self._store.add(query.record(verdict, reused))

    async def _ask(self, queries: Sequence[Q], keep: Callable[[Q, Verdict, bool], None]) -> None:
        """Ask each judge, up to its concurrency limit; the first error cancels the rest."""
        by_judge: dict[str, dict[str, list[Q]]] = {}
        for query in queries:
            by_judge.setdefault(query.judge.id, {}).setdefault(query.words, []).append(query)
        judges = {query.judge.id: query.judge for query in queries}
        for judge in judges.values():
            await self._open(judge)
        try:
            async with asyncio.TaskGroup() as workers:
                for judge_id, groups in by_judge.items():
                    waiting = iter(groups.values())
                    concurrency = judges[judge_id].backend.traits().concurrency
                    for _ in range(min(concurrency, len(groups))):
                        workers.create_task(self._work(judges[judge_id], waiting, keep))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _work(
        self,
        judge: Judge,
        waiting: Iterator[list[Q]],
        keep: Callable[[Q, Verdict, bool], None],
    ) -> None:
        outages = self._outages[judge.id]
        for same in waiting:
            try:
                verdict = await outages.ask(same[0].question)
            except JudgeError as error:
                raise AdakdError(f"{judge.file}: {error}") from None
            for number, query in enumerate(same):
                keep(query, verdict, number > 0)
                self._done += 1
                self._show(self._done, self._total)

    async def _open(self, judge: Judge) -> None:
        """Open a judge's session, in the mode first used in this folder."""
        if judge.id in self._sessions:
            return
        known = self._store.get(JudgeRecord, judge.id)
        session = await _opened(self._stack, judge, known.mode if known else None)
        self._sessions[judge.id] = session
        patience = judge.backend.traits().patience
        self._outages[judge.id] = _Outages(session, judge.name, patience, self._note)
        self._keep_judge(_record(judge, session.mode))

    def _keep_jury(self) -> None:
        panel = self._panel
        if len(panel.judges) > 1:
            self._keep_judge(
                JudgeRecord(
                    key=panel.id,
                    name=panel.name,
                    description=panel.description,
                    backend=JURY,
                    mode="majority",
                    members=tuple(judge.id for judge in panel.judges),
                )
            )

    def _keep_calibrations(self, judge: Judge) -> None:
        """Copy what is known about a judge into the run, which then cites it."""
        for record in calibrations(self._store.folder.parent, judge.id):
            if record.key not in self._store:
                self._store.add(record)

    def _keep_judge(self, record: JudgeRecord) -> None:
        if self._store.get(JudgeRecord, record.key) != record:
            self._store.add(record)


class _Outages:
    """Asks a judge's questions, and waits where it does not answer for a while.

    Args:
        session: of the judge.
        name: of the judge, for the user.
        patience: seconds to wait in an outage.
        note: called when an outage begins and when it ends.
    """

    def __init__(self, session: Session, name: str, patience: float, note: OnNote) -> None:
        self._ask = session.ask
        self._name = name
        self._patience = patience
        self._note = note
        self._waiting = asyncio.Lock()
        self._over = 0
        """The number of outages that are over."""

    async def ask(self, question: Question) -> Verdict:
        """Return the verdict; of all questions that meet an outage, one is repeated until its end.

        Raises:
            JudgeError: no question can be answered, or the outage is longer than the patience.
        """
        while True:
            over = self._over
            try:
                verdict = await self._ask(question)
            except Outage as error:
                if not self._patience:
                    raise
                outage = error
            else:
                passes = verdict.choice == "failed" and not verdict.lasts
                if passes and (self._over != over or self._waiting.locked()):
                    async with self._waiting:  # it failed in an outage that others wait for
                        continue
                return verdict
            async with self._waiting:
                if self._over == over:
                    verdict = await self._waited_out(question, outage)
                    self._over += 1
                    return verdict

    async def _waited_out(self, question: Question, outage: Outage) -> Verdict:
        start, (pause, longest) = perf_counter(), _PAUSES
        self._note(
            f"{self._name} does not answer ({outage}): trying again for {_time(self._patience)}"
        )
        while True:
            left = self._patience - (perf_counter() - start)
            if left <= 0:
                raise outage
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, longest)
            try:
                verdict = await self._ask(question)
            except Outage as error:
                outage = error
            else:
                self._note(f"{self._name} answers again after {_time(perf_counter() - start)}")
                return verdict


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


async def _opened(stack: AsyncExitStack, judge: Judge, mode: str | None) -> Session:
    try:
        return await stack.enter_async_context(judge.backend.open(mode))
    except JudgeError as error:
        raise AdakdError(f"{judge.file}: {error}") from None


def _record(judge: Judge, mode: str) -> JudgeRecord:
    traits = judge.backend.traits()
    return JudgeRecord(
        key=judge.id,
        name=judge.name,
        description=judge.description,
        backend=judge.kind,
        asks=traits.asks,
        mode=mode,
        model=traits.model,
        family=judge.family,
        vetting=judge.vetting,
        prices=judge.prices,
        settings=dict(judge.backend.fingerprint()),
    )


def _state(
    number: int,
    match: Match,
    panel: Panel,
    known: Mapping[str, VerdictRecord],
    by_words: Mapping[str, VerdictRecord],
) -> MatchState:
    """Return a match with its known verdicts and its open queries."""
    state = MatchState(number, match)
    for judge in panel.judges:
        for query in match_queries(judge, match):
            record = known.get(query.key)
            if record is not None and record.verdict != "failed":
                state.restore(record)
            elif match.identical:
                state.settle(query.identical())
            elif same := by_words.get(query.words):
                state.settle(query.record(verdict_of(same), reused=True))
            elif (repeated := again(query, record)) is not None:
                state.ask(repeated)
            elif record is not None:
                state.restore(record)
    return state


def _vetting(store: Store, panel: Panel, items: Items) -> Iterator[VettingQuery]:
    for judge in panel.judges:
        by_reference = judge.backend.traits().by_reference
        yield from open_queries(store, judge, known_pairs(items, judge.vetting.items, by_reference))


def open_queries(store: Store, judge: Judge, pairs: Iterable[KnownPair]) -> Iterator[VettingQuery]:
    """Yield the queries on known pairs that have no verdict yet."""
    for pair in pairs:
        for query in vetting_queries(judge, pair):
            known = store.get(VettingRecord, query.key)
            if known is None or known.verdict == "failed":
                repeated = again(query, known)
                if repeated is not None:
                    yield repeated


def keep_texts(store: Store, items: Items, places: Iterable[tuple[str, str]]) -> None:
    """Store the texts of items, by task and id: the report shows them next to the answers."""
    records = {}
    for task, item in places:
        text = items[task][item]
        key = digest("example", task, item, text)
        if key not in store:
            records[key] = ExampleRecord(
                key=key,
                task=task,
                item=item,
                question=f"{text.instruction}\n{text.input}".strip(),
                reference=text.references[0] if text.references else "",
            )
    if records:
        store.add(*records.values())


def _in_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine to completion, even if a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work())
    else:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, work()).result()
