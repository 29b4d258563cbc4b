"""A judging: both orders, nothing asked twice, nothing lost, and a stop valid at any time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from adakd.config.judge import Vetting
from adakd.errors import AdakdError
from adakd.judging import (
    AGAIN,
    ALL,
    ItemText,
    Judge,
    JudgeError,
    Outage,
    Panel,
    Question,
    Session,
    Subject,
    Traits,
    Verdict,
    load_judge,
    runner,
)
from adakd.judging.runner import JudgingResult, costs, judge_answers
from adakd.store import Store
from adakd.store.records import (
    ExampleRecord,
    JudgeRecord,
    ScoreRecord,
    StopRecord,
    VerdictRecord,
    VettingRecord,
)

Says = Callable[[Question], Verdict]


@dataclass
class Scripted:
    """A backend that says what a test wants."""

    says: Says
    asks: str = "pair"
    concurrency: int = 1
    mode: str = "scripted"
    patience: float = 0.0
    asked: list[Question] = field(default_factory=list)
    modes: list[str | None] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def traits(self) -> Traits:
        return Traits(self.concurrency, self.asks, self.patience, model="Llama-3")

    def fingerprint(self) -> dict[str, str]:
        return {"asks": self.asks}

    def tokens(self, question: Question) -> None:
        return None

    @asynccontextmanager
    async def open(self, mode: str | None) -> AsyncIterator[Session]:
        self.modes.append(mode)
        yield Session(self._ask, self.mode)

    async def _ask(self, question: Question) -> Verdict:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        self.asked.append(question)
        return self.says(question)


def prefers_good(question: Question) -> Verdict:
    return Verdict("first" if "good" in question.first else "second", reason="because")


def a_judge(says: Says = prefers_good, name: str = "j", vetted: int = 0, **traits) -> Judge:
    backend = Scripted(says, **traits)
    file, vetting = Path(f"{name}.yaml"), Vetting(items=vetted)
    return Judge(name, "", file, "scripted", backend, f"{name}@1", "llama", vetting, None)


def panel_of(*judges: Judge) -> Panel:
    return Panel(judges[0].name if len(judges) == 1 else "jury", "", judges)


@pytest.fixture
def ask(store, items) -> Callable[..., JudgingResult]:
    """Have the run's answers judged."""

    def go(*judges: Judge, store=store, items=items, against="plain", **rest) -> JudgingResult:
        subject = Subject(tuple(store.current(ScoreRecord)), items, against)
        return judge_answers(store, panel_of(*judges), subject, **rest)

    return go


def asked(judge: Judge) -> list[Question]:
    return judge.backend.asked


def test_both_orders_are_asked_and_agreement_wins(ask, store) -> None:
    judge = a_judge()
    judged = ask(judge)
    (summary,) = judged.summaries
    assert (summary.judge, summary.comparisons, summary.outcomes) == (
        "j@1",
        1,
        {"win": 5, "identical": 1},
    )
    assert (judged.asked, judged.failure) == (10, None)
    for item in "01234":
        records = [r for r in store.of(VerdictRecord) if r.item == item]
        assert {r.candidate_first for r in records} == {True, False}
        assert {r.verdict for r in records} == {"candidate"}
        shown = {(q.first, q.second) for q in asked(judge) if item in q.first}
        assert shown == {
            (f"poor {item}", f"the good answer {item}"),
            (f"the good answer {item}", f"poor {item}"),
        }


def test_which_order_comes_first_is_drawn_by_the_item(ask, store) -> None:
    ask(a_judge())
    firsts = {r.item: r.candidate_first for r in reversed(store.of(VerdictRecord))}
    assert set(firsts.values()) == {True, False}


def test_probabilities_and_scores_are_kept_for_candidate_and_opponent(ask, store) -> None:
    ask(a_judge(lambda q: Verdict("first", probabilities=(0.7, 0.2, 0.1))), limit=1)
    records = [r for r in store.of(VerdictRecord) if r.verdict != "identical"]
    kept = {r.candidate_first: (r.verdict, r.probabilities) for r in records}
    assert kept[True] == ("candidate", (0.7, 0.2, 0.1))
    assert kept[False] == ("opponent", (0.2, 0.7, 0.1))


def test_a_judge_that_rates_sees_each_answer_alone_and_once(ask, store) -> None:
    judge = a_judge(lambda q: Verdict("rated", score=float("good" in q.first)), asks="rating")
    assert ask(judge).summaries[0].outcomes == {"win": 5, "identical": 1}
    assert {question.second for question in asked(judge)} == {None}
    assert len({question.first for question in asked(judge)}) == len(asked(judge)) == 10
    scores = {r.candidate_first: r.score for r in store.of(VerdictRecord) if r.item == "0"}
    assert scores == {True: 1.0, False: 0.0}


def test_identical_answers_are_recorded_once_and_never_sent(ask, store) -> None:
    judge = a_judge()
    ask(judge)
    ask(judge)
    (same,) = (r for r in store.of(VerdictRecord) if r.verdict == "identical")
    assert same.item == "5"
    assert not any("same" in question.first for question in asked(judge))


class Killed(BaseException):
    """As an interrupt, which asyncio would treat in a way of its own."""


def test_a_killed_judging_goes_on_and_asks_nothing_twice(ask, store) -> None:
    def kill(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    judge = a_judge()
    with pytest.raises(Killed):
        ask(judge, on_progress=kill)
    assert len(asked(judge)) == 3
    told: list[tuple[int, int]] = []
    judged = ask(
        judge, store=Store(store.folder), on_progress=lambda done, total: told.append((done, total))
    )
    assert (judged.asked, judged.summaries[0].outcomes) == (7, {"win": 5, "identical": 1})
    assert told == [(done, 7) for done in range(8)]
    assert len(set(asked(judge))) == len(asked(judge)) == 10


def test_a_finished_judging_does_not_even_connect(ask, store) -> None:
    judge = a_judge(vetted=2)
    ask(judge)
    ask(judge, store=Store(store.folder))
    assert judge.backend.modes == [None]


def test_the_mode_that_was_found_first_is_kept(ask, store) -> None:
    judge = a_judge()
    ask(judge, limit=1)
    ask(judge, store=Store(store.folder))
    assert judge.backend.modes == [None, "scripted"]
    (record,) = store.of(JudgeRecord)
    assert (record.key, record.mode, record.model, record.family) == (
        "j@1",
        "scripted",
        "Llama-3",
        "llama",
    )


def test_failed_questions_alone_are_asked_again_and_are_never_ties(ask, store) -> None:
    fails = a_judge(lambda q: Verdict("failed", "hm") if "0" in q.first else prefers_good(q))
    judged = ask(fails)
    assert (judged.summaries[0].outcomes, judged.failure) == (
        {"win": 4, "failed": 1, "identical": 1},
        "hm",
    )
    judged = ask(a_judge(), store=Store(store.folder))
    assert (judged.asked, judged.summaries[0].outcomes) == (2, {"win": 5, "identical": 1})


def test_other_words_or_another_judge_are_another_question(ask, items) -> None:
    judge, other = a_judge(), a_judge(name="other")
    other_words = {"set": {name: ItemText("Other", "", ("x",)) for name in items["set"]}}
    assert [ask(judge, limit=2).asked, ask(other, limit=2).asked] == [4, 4]
    assert ask(judge, limit=2, items=other_words).asked == 4


def test_the_same_words_in_another_comparison_are_not_asked_again(ask, store) -> None:
    judge = a_judge()
    first = ask(judge)
    again = ask(judge, against=ALL, store=Store(store.folder))
    assert (first.asked, again.asked) == (10, 0)
    reused = [r for r in store.of(VerdictRecord) if r.reused]
    assert len(reused) == 10
    assert sum(s.outcomes.get("win", 0) + s.outcomes.get("loss", 0) for s in again.summaries) == 5


def test_two_seeds_of_a_plain_method_are_compared_too(ask, store, make_cell, make_score) -> None:
    store.add(make_score(make_cell(seed=2), {str(n): f"another poor {n}" for n in range(5)}))
    ask(a_judge())
    chance = [r for r in store.of(VerdictRecord) if r.against == AGAIN]
    assert len(chance) == 10
    for record in chance:
        assert record.opponent is not None
        assert (record.candidate.method, record.opponent.method) == ("rkl", "rkl")
        assert (record.candidate.seed, record.opponent.seed) == (1, 2)


def test_the_words_of_what_was_judged_are_kept_for_the_report(ask, store) -> None:
    ask(a_judge())
    ask(a_judge(name="other"))
    kept = store.of(ExampleRecord)
    assert len(kept) == 6
    assert {record.reference for record in kept} == {f"the good answer to {n}" for n in range(6)}


# --- vetting --------------------------------------------------------------------------------


def test_every_judge_is_vetted_once_on_pairs_whose_answer_is_known(ask, store) -> None:
    judge = a_judge(vetted=2)
    ask(judge)
    records = store.of(VettingRecord)
    assert {record.case for record in records} == {"other", "same", "shuffled"}
    assert len(records) == 2 * len({(r.case, r.item) for r in records})
    before = len(asked(judge))
    ask(judge, store=Store(store.folder))
    assert len(asked(judge)) == before


def test_a_reference_that_is_an_answer_is_not_shown_as_right(ask) -> None:
    judge = a_judge(vetted=3)
    ask(judge)
    for question in asked(judge):
        answers = {question.first, question.second}
        assert not answers & set(question.item.references)


# --- juries ---------------------------------------------------------------------------------


def test_a_jury_asks_every_member_and_follows_the_majority(ask, store) -> None:
    def contrary(question: Question) -> Verdict:
        return Verdict("second" if "good" in question.first else "first")

    judges = a_judge(name="a"), a_judge(name="b"), a_judge(contrary, name="c")
    judged = ask(*judges)
    by_judge = {summary.judge: summary.outcomes for summary in judged.summaries}
    assert by_judge["a@1"] == by_judge["b@1"] == {"win": 5, "identical": 1}
    assert by_judge["c@1"] == {"loss": 5, "identical": 1}
    jury = judged.summaries[-1]
    assert jury.outcomes == {"win": 5, "identical": 1}
    record = store.get(JudgeRecord, jury.judge)
    assert record is not None
    assert record.members == ("a@1", "b@1", "c@1")
    assert {r.judge for r in store.of(VerdictRecord)} == {"a@1", "b@1", "c@1"}


# --- errors and crowds ----------------------------------------------------------------------


def test_a_judge_that_cannot_go_on_ends_the_judging_and_names_its_file(ask, store) -> None:
    def breaks(question: Question) -> Verdict:
        if len(judge.backend.asked) > 3:
            raise JudgeError("model: gone")
        return prefers_good(question)

    judge = a_judge(breaks)
    with pytest.raises(AdakdError, match=r"^j\.yaml: model: gone$"):
        ask(judge)
    assert len([r for r in store.of(VerdictRecord) if r.verdict != "identical"]) == 3


def test_no_more_questions_are_under_way_than_the_concurrency_limit(ask) -> None:
    judge = a_judge(concurrency=4)
    ask(judge)
    assert judge.backend.most_at_once == 4


def test_a_judging_works_where_a_loop_runs_already(ask) -> None:
    async def notebook() -> JudgingResult:
        return ask(a_judge())

    assert asyncio.run(notebook()).asked == 10


# --- stopping -------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path, make_cell, make_score) -> tuple[Store, dict[str, dict[str, ItemText]]]:
    """Return a run of two methods on 400 items."""
    store, ids = Store(tmp_path / "many"), [str(n) for n in range(400)]
    for label in ("rkl", "fkl"):
        store.add(make_score(make_cell(label=label), {n: f"{label} poor {n}" for n in ids}))
        better = {n: f"{label} good {n}" for n in ids}
        store.add(make_score(make_cell("adakd", label=label), better))
    return store, {"set": {n: ItemText(f"Instruction {n}", "", ()) for n in ids}}


def undecided_on_fkl(question: Question) -> Verdict:
    """Prefer rkl's good answers always, and fkl's in every other item."""
    item = int(question.first.rpartition(" ")[2])
    good_first = "good" in question.first
    if "fkl" in question.first and item % 2:
        good_first = not good_first
    return Verdict("first" if good_first else "second")


def test_a_method_is_asked_about_until_its_interval_is_narrow(ask, many) -> None:
    store, items = many
    judge = a_judge(undecided_on_fkl)
    ask(judge, store=store, items=items, until=0.1)
    stops = {record.method: record for record in store.of(StopRecord)}
    clear, unclear = stops["rkl + adakd"], stops["fkl + adakd"]
    assert clear.reached
    assert clear.prompts < unclear.prompts <= clear.available == 400
    assert (clear.high - clear.low) / 2 <= clear.target == 0.1
    assert clear.low > 0.5
    assert unclear.low < 0.5 < unclear.high
    counted = [r for r in store.of(VerdictRecord) if r.candidate.method == "rkl + adakd"]
    assert len(counted) == 2 * clear.prompts


def test_a_target_out_of_reach_says_so_at_the_last_prompt(ask, many) -> None:
    store, items = many
    judge = a_judge(undecided_on_fkl)
    ask(judge, store=store, items=items, until=0.01)
    record = next(r for r in store.of(StopRecord) if r.method == "fkl + adakd")
    assert (record.reached, record.prompts) == (False, 400)


def test_a_stopped_judging_stops_at_the_same_place_again(ask, many) -> None:
    store, items = many
    judge = a_judge(undecided_on_fkl)
    ask(judge, store=store, items=items, until=0.1)
    before = {record.method: record for record in store.of(StopRecord)}
    again = ask(judge, store=Store(store.folder), items=items, until=0.1)
    assert again.asked == 0
    assert {r.method: r for r in Store(store.folder).of(StopRecord)} == before


def test_concurrency_changes_nothing_about_the_stop(ask, many, tmp_path) -> None:
    store, items = many
    ask(a_judge(undecided_on_fkl), store=store, items=items, until=0.1)
    other = Store(tmp_path / "other")
    for score in store.of(ScoreRecord):
        other.add(score)
    ask(a_judge(undecided_on_fkl, concurrency=16), store=other, items=items, until=0.1)
    assert other.of(StopRecord) == store.of(StopRecord)


# --- costs ----------------------------------------------------------------------------------


def test_a_plan_counts_what_a_judging_then_asks(ask, store, items) -> None:
    judge = a_judge(vetted=2)
    subject = Subject(tuple(store.current(ScoreRecord)), items)
    (planned,) = costs(store, panel_of(judge), subject)
    assert not asked(judge)
    ask(judge)
    assert planned.questions + planned.vetting == len(asked(judge))
    assert planned.identical == 1
    (after,) = costs(Store(store.folder), panel_of(judge), subject)
    assert (after.questions, after.vetting, after.known) == (0, 0, 10)
    (other,) = costs(store, panel_of(replace(judge, id="k@1")), subject)
    assert other.questions == 10


# --- outages, and what never succeeds ---------------------------------------------------------


def out_for(calls: int, after: int = 3) -> Says:
    """Return a judge that answers `after` questions, then fails `calls` calls, then answers."""
    seen = iter(range(10**6))

    def says(question: Question) -> Verdict:
        if after <= next(seen) < after + calls:
            raise Outage("base_url (start the server): gone")
        return prefers_good(question)

    return says


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_PAUSES", (0.0, 0.001))


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_outage_is_waited_out_and_no_question_is_lost(ask, store, concurrency) -> None:
    notes: list[str] = []
    judge = a_judge(out_for(7), concurrency=concurrency, patience=60.0)
    judged = ask(judge, on_note=notes.append)
    assert judged.summaries[0].outcomes == {"win": 5, "identical": 1}
    assert notes[0].startswith("j does not answer (")
    assert "gone): trying again for 1 min" in notes[0]
    assert notes[1].startswith("j answers again after ")
    assert len(notes) == 2
    assert not [r for r in store.of(VerdictRecord) if r.verdict == "failed"]


@pytest.mark.usefixtures("no_pause")
def test_a_question_that_fails_while_others_wait_is_asked_again(ask) -> None:
    seen = iter(range(10**6))

    def says(question: Question) -> Verdict:
        number = next(seen)
        if number == 4:
            raise Outage("gone")
        if number in (5, 6):
            return Verdict("failed", "HTTP 503", lasts=False)
        return prefers_good(question)

    judge = a_judge(says, concurrency=4, patience=60.0)
    assert ask(judge).summaries[0].outcomes == {"win": 5, "identical": 1}
    assert len(asked(judge)) == 13


@pytest.mark.usefixtures("no_pause")
def test_an_outage_beyond_the_patience_ends_the_judging_as_ever(ask, store) -> None:
    with pytest.raises(AdakdError, match=r"j\.yaml: base_url \(start the server\): gone"):
        ask(a_judge(out_for(10**6), patience=0.05))
    assert len(store.of(VerdictRecord)) > 0
    assert ask(a_judge()).summaries[0].outcomes == {"win": 5, "identical": 1}


def test_without_patience_an_outage_ends_the_judging_at_once(ask) -> None:
    judge = a_judge(out_for(10**6))
    with pytest.raises(AdakdError, match="gone"):
        ask(judge)
    assert len(asked(judge)) == 4


def test_a_judge_without_any_verdict_in_its_vetting_is_asked_nothing_else(ask, store) -> None:
    judge = a_judge(lambda q: Verdict("failed", "no verdict: Hm."), vetted=2)
    with pytest.raises(AdakdError, match=r"j\.yaml: no verdict on any of 12 .*: no verdict: Hm\."):
        ask(judge)
    assert len(asked(judge)) == 10  # the same in both orders is asked once
    assert not store.of(VerdictRecord) or {r.verdict for r in store.of(VerdictRecord)} == {
        "identical"
    }


def test_one_member_without_a_verdict_stops_a_jury(ask) -> None:
    mute = a_judge(lambda q: Verdict("failed", "mute"), "mute", vetted=1)
    with pytest.raises(AdakdError, match=r"^mute\.yaml: "):
        ask(a_judge(vetted=1), mute)


def test_one_verdict_in_the_vetting_is_enough_to_go_on(ask) -> None:
    first = iter([True])
    judge = a_judge(
        lambda q: prefers_good(q) if next(first, False) else Verdict("failed", "x"), vetted=2
    )
    assert ask(judge).summaries[0].outcomes == {"failed": 5, "identical": 1}


@pytest.mark.parametrize(("lasts", "calls"), [(True, 3), (False, 5)])
def test_a_request_that_can_never_succeed_is_not_repeated_for_ever(
    ask, store, lasts, calls
) -> None:
    def says(question: Question) -> Verdict:
        if "3" in question.first:
            return Verdict("failed", "HTTP 400: filtered", lasts=lasts)
        return prefers_good(question)

    judge = a_judge(says)
    for _ in range(5):
        judged = ask(judge)
        assert judged.summaries[0].outcomes == {"win": 4, "failed": 1, "identical": 1}
        assert judged.failure == "HTTP 400: filtered"
    assert sum("3" in question.first for question in asked(judge)) == 2 * calls


@pytest.mark.usefixtures("no_pause")
def test_a_server_that_goes_down_for_a_while_is_waited_for(server, judge_file, ask) -> None:
    down = iter(range(6))
    server.prefer("good")
    sound = server.script

    def script(prompt):
        if len(server.questions) > 4 and next(down, None) is not None:
            return server.reply("down", 503)
        return sound(prompt)

    server.script = script
    server.hello = lambda: (
        server.reply("down", 503)
        if len(server.questions) > 4 and next(down, None) is not None
        else server.says("yes")
    )
    judge = load_judge(judge_file(retries=0, concurrency=1, vetting={"items": 0}))
    notes: list[str] = []
    judged = ask(judge, on_note=notes.append)
    assert judged.summaries[0].outcomes == {"win": 5, "identical": 1}
    assert "HTTP 503: down" in notes[0]
    assert notes[-1].startswith("stub answers again after ")
