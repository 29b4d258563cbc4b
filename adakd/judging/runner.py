"""Asks judges about the answers of a run: both orders, each verdict stored as it lands."""

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
from adakd.judging.base import Judge, JudgeError, Session, Verdict
from adakd.judging.comparisons import Duel, Items, Pair, Subject, chance_pairs, duels, pairs
from adakd.judging.cost import Cost, cost
from adakd.judging.judge_files import JURY, Panel
from adakd.judging.queries import (
    Asking,
    DuelAsking,
    VettingAsking,
    duel_askings,
    verdict_of,
    vetting_askings,
)
from adakd.judging.scoreboard import Bout, Tally
from adakd.judging.vetting import known_pairs
from adakd.planning import PLAIN
from adakd.store import Store
from adakd.store.records import ExampleRecord, JudgeRecord, VerdictRecord, VettingRecord

BATCH = 20
"""Prompts that are judged between two looks at the interval."""

A = TypeVar("A", bound=Asking)
OnProgress = Callable[[int, int], None]
"""Called with the number of questions answered, and of those to ask."""


@dataclass(frozen=True)
class Summary:
    """What a judging came to, for one judge or the jury, over all its pairs."""

    judge: str
    against: str
    pairs: int
    outcomes: Mapping[Outcome, int]
    """Prompts of pairs by outcome; a failed one is asked again by the next judging."""


@dataclass(frozen=True)
class Judged:
    """What a judging did."""

    summaries: tuple[Summary, ...]
    """Of each judge, and last of the jury if there are several."""
    asked: int
    """Questions asked this time, two for a pair, one for each order; vetting not counted."""
    seconds: float
    failure: str | None
    """Why the first of the failed questions failed."""


@dataclass(frozen=True)
class Questions:
    """All that a judging has to find out, and what is known of it."""

    found: tuple[Pair, ...]
    bouts: tuple[tuple[Bout, ...], ...]
    """Prompt by prompt."""
    vetting: tuple[VettingAsking, ...]
    """Those that are still to be asked."""

    def open(self, prompts: Iterable[Sequence[Bout]]) -> list[DuelAsking]:
        """Return what is to be asked of some prompts."""
        return [asking for prompt in prompts for bout in prompt for asking in bout.open]


def check(panel: Panel) -> None:
    """Find out whether judges can be asked at all.

    Raises:
        AdakdError: one cannot: no server, no key, an unknown model.
    """

    async def open_all() -> None:
        async with AsyncExitStack() as stack:
            for judge in panel.judges:
                await _opened(stack, judge, None)

    _in_loop(open_all)


def questions(store: Store, panel: Panel, subject: Subject, limit: int | None = None) -> Questions:
    """Return what a judging would ask; the arguments are those of :func:`judge_answers`."""
    found = pairs(subject.scores, subject.against)
    if subject.against == PLAIN:
        found += chance_pairs(subject.scores)
    known = {record.key: record for record in store.of(VerdictRecord)}
    by_words = {record.words: record for record in known.values() if record.verdict != "failed"}
    prompts = [
        tuple(_bout(number, duel, panel, known, by_words) for duel in prompt)
        for number, prompt in enumerate(duels(found, subject.items, limit))
    ]
    return Questions(tuple(found), tuple(prompts), tuple(_vetting(store, panel, subject.items)))


def costs(store: Store, panel: Panel, subject: Subject, limit: int | None = None) -> list[Cost]:
    """Return what a judging would cost with each judge; asks nothing."""
    asked = questions(store, panel, subject, limit)
    to_ask = asked.open(asked.bouts)
    settled = [record for prompt in asked.bouts for bout in prompt for record in bout.said]
    return [cost(judge, to_ask, asked.vetting, store, settled) for judge in panel.judges]


def judge_answers(
    store: Store,
    panel: Panel,
    subject: Subject,
    limit: int | None = None,
    until: float | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Judged:
    """Have answers judged; what was answered before is not asked again.

    Every judge is vetted first, on pairs whose answer is known. Beside ``plain`` each plain
    method's first two training seeds are compared, which shows how far chance goes.

    Args:
        store: verdicts are added to it.
        panel: from `load_panel`.
        subject: what is judged.
        limit: items of a task, if not all.
        until: stop asking about a method when its win rate's 95 % interval, one that holds
            whenever one looks, reaches this half-width; in shares of 1.
        on_progress: told before the first question and after each verdict.

    Raises:
        AdakdError: nothing to compare, or a judge cannot be asked (any more); the verdicts
            that have landed stay in the store.
    """
    start = perf_counter()
    asked = questions(store, panel, subject, limit)
    tally = Tally(panel, until)
    judging = _Judging(store, panel, tally, on_progress)
    duels_ = (prompt[0].duel for prompt in asked.bouts)
    keep_texts(store, subject.items, ((duel.task, duel.item) for duel in duels_))
    _in_loop(lambda: judging.go(asked))
    store.add(*tally.stops(len(asked.bouts)))
    return Judged(
        summaries=tuple(
            Summary(judge, subject.against, len(asked.found), dict(tally.outcomes[judge]))
            for judge in tally.judges
        ),
        asked=judging.asked,
        seconds=perf_counter() - start,
        failure=tally.failure,
    )


class _Judging:
    """One judging under way."""

    def __init__(self, store: Store, panel: Panel, tally: Tally, show: OnProgress) -> None:
        self.asked = 0
        self._store = store
        self._panel = panel
        self._tally = tally
        self._show = show
        self._sessions: dict[str, Session] = {}
        self._done = self._total = 0

    async def go(self, asked: Questions) -> None:
        """Vet, then ask batch by batch until the tally has enough."""
        self._total = len(asked.vetting) + len(asked.open(asked.bouts))
        if self._total:
            self._show(0, self._total)
        async with AsyncExitStack() as stack:
            self._stack = stack
            self._keep_jury()
            await self._ask(asked.vetting, self._keep_vetting)
            step = BATCH if self._tally.until else max(1, len(asked.bouts))
            for start in range(0, len(asked.bouts), step):
                batch = [bout for prompt in asked.bouts[start : start + step] for bout in prompt]
                wanted = [bout for bout in batch if self._tally.wants(bout)]
                if wanted:
                    await self._judge(wanted)
                    self._tally.look()

    async def _judge(self, bouts: Sequence[Bout]) -> None:
        of_asking = {asking.key: bout for bout in bouts for asking in bout.open}

        def land(asking: DuelAsking, verdict: Verdict, reused: bool) -> None:
            record = asking.record(verdict, reused)
            self._store.add(record)
            bout = of_asking[asking.key]
            bout.land(record)
            self.asked += not reused
            if bout.complete:
                self._tally.add(bout)

        for bout in bouts:
            if bout.unwritten:
                self._store.add(*bout.unwritten)
            if bout.complete:
                self._tally.add(bout)
        await self._ask([asking for bout in bouts for asking in bout.open], land)

    def _keep_vetting(self, asking: VettingAsking, verdict: Verdict, reused: bool) -> None:
        self._store.add(asking.record(verdict, reused))

    async def _ask(self, todo: Sequence[A], land: Callable[[A, Verdict, bool], None]) -> None:
        """Ask each judge with as many workers as it bears; the first error ends them all."""
        by_judge: dict[str, dict[str, list[A]]] = {}
        for asking in todo:
            by_judge.setdefault(asking.judge.id, {}).setdefault(asking.words, []).append(asking)
        judges = {asking.judge.id: asking.judge for asking in todo}
        for judge in judges.values():
            await self._open(judge)
        try:
            async with asyncio.TaskGroup() as workers:
                for judge_id, groups in by_judge.items():
                    waiting = iter(groups.values())
                    concurrency = judges[judge_id].backend.traits().concurrency
                    for _ in range(min(concurrency, len(groups))):
                        workers.create_task(self._work(judges[judge_id], waiting, land))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _work(
        self,
        judge: Judge,
        waiting: Iterator[list[A]],
        land: Callable[[A, Verdict, bool], None],
    ) -> None:
        ask = self._sessions[judge.id].ask
        for same in waiting:
            try:
                verdict = await ask(same[0].question)
            except JudgeError as error:
                raise AdakdError(f"{judge.file}: {error}") from None
            for number, asking in enumerate(same):
                land(asking, verdict, number > 0)
                self._done += 1
                self._show(self._done, self._total)

    async def _open(self, judge: Judge) -> None:
        """Open a judge's session, in the mode in which it was first asked in this folder."""
        if judge.id in self._sessions:
            return
        known = self._store.get(JudgeRecord, judge.id)
        session = await _opened(self._stack, judge, known.mode if known else None)
        self._sessions[judge.id] = session
        self._keep(_record(judge, session.mode))

    def _keep_jury(self) -> None:
        panel = self._panel
        if len(panel.judges) > 1:
            self._keep(
                JudgeRecord(
                    key=panel.id,
                    name=panel.name,
                    description=panel.description,
                    backend=JURY,
                    mode="majority",
                    members=tuple(judge.id for judge in panel.judges),
                )
            )

    def _keep(self, record: JudgeRecord) -> None:
        if self._store.get(JudgeRecord, record.key) != record:
            self._store.add(record)


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
        settings=dict(judge.backend.deciding()),
    )


def _bout(
    number: int,
    duel: Duel,
    panel: Panel,
    known: Mapping[str, VerdictRecord],
    by_words: Mapping[str, VerdictRecord],
) -> Bout:
    """Return a duel with what is known of it and what each judge is still to be asked."""
    bout = Bout(number, duel)
    for judge in panel.judges:
        for asking in duel_askings(judge, duel):
            record = known.get(asking.key)
            if record is not None and record.verdict != "failed":
                bout.know(record)
            elif duel.identical:
                bout.add(asking.identical())
            elif same := by_words.get(asking.words):
                bout.add(asking.record(verdict_of(same), reused=True))
            else:
                bout.ask(asking)
    return bout


def _vetting(store: Store, panel: Panel, items: Items) -> Iterator[VettingAsking]:
    for judge in panel.judges:
        by_reference = judge.backend.traits().by_reference
        for pair in known_pairs(items, judge.vetting.items, by_reference):
            for asking in vetting_askings(judge, pair):
                known = store.get(VettingRecord, asking.key)
                if known is None or known.verdict == "failed":
                    yield asking


def keep_texts(store: Store, items: Items, places: Iterable[tuple[str, str]]) -> None:
    """Record the words of items, by task and id: the report shows them beside the answers."""
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
    """Run asynchronous work to its end, also where a loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work())
    else:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, work()).result()
