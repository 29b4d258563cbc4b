import pytest

from adakd.judging import ItemText, judge_answers, load_judge
from adakd.results import Store, VerdictRecord


@pytest.fixture
def judge(judge_file):
    return load_judge(judge_file(concurrency=1))


def verdicts(store) -> list[VerdictRecord]:
    return store.of(VerdictRecord)


def test_both_orders_are_asked_and_agreement_wins(server, store, judge, items) -> None:
    server.prefer("good")
    summary = judge_answers(store, judge, items)
    assert summary.outcomes == {"win": 5, "identical": 1}
    assert (summary.pairs, summary.asked, summary.judge) == (1, 10, judge.id)
    asked = [record for record in verdicts(store) if record.verdict != "identical"]
    assert {record.verdict for record in asked} == {"candidate"}
    for item in "01234":
        assert {r.candidate_first for r in asked if r.item == item} == {True, False}
        answers = [server.shown(prompt, "A") for prompt in server.questions]
        assert f"poor {item}" in answers
        assert f"the good answer {item}" in answers


def test_a_record_says_who_what_and_where(server, store, judge, items) -> None:
    server.script = lambda prompt: server.says("Because. [[B]]")
    judge_answers(store, judge, items, limit=1)
    first, second = (r for r in verdicts(store) if r.verdict != "identical")
    assert (first.candidate.arm, first.opponent.arm) == ("adakd", "none")
    assert (first.judge, first.against, first.task) == (judge.id, "plain", "set")
    assert (first.candidate_first, first.verdict) == (True, "opponent")
    assert (second.candidate_first, second.verdict) == (False, "candidate")
    assert first.reason == "Because. [[B]]"
    assert (first.prompt_tokens, first.completion_tokens) == (11, 3)
    assert first.seconds > 0


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        (("[[A]]", "[[A]]"), "flip"),
        (("[[B]]", "[[B]]"), "flip"),
        (("[[A]]", "[[C]]"), "flip"),
        (("[[C]]", "[[C]]"), "tie"),
        (("[[A]]", "[[B]]"), "win"),
        (("[[B]]", "[[A]]"), "loss"),
        (("[[A]]", "none"), "failed"),
        (("none", "[[C]]"), "failed"),
    ],
)
def test_two_orders_make_one_outcome(server, store, judge, items, replies, outcome) -> None:
    waiting = list(replies)
    server.script = lambda prompt: server.says(waiting.pop(0))
    assert judge_answers(store, judge, items, limit=1).outcomes == {outcome: 1}


def test_identical_answers_are_recorded_once_and_never_sent(server, store, judge, items) -> None:
    judge_answers(store, judge, items)
    judge_answers(store, judge, items)
    (same,) = (record for record in verdicts(store) if record.verdict == "identical")
    assert same.item == "5"
    assert not any("same" in server.shown(prompt, "A") for prompt in server.questions)


class Killed(BaseException):
    """As an interrupt, which asyncio would treat in a way of its own."""


def test_a_killed_judging_goes_on_and_asks_nothing_twice(server, store, judge, items) -> None:
    def kill(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        judge_answers(store, judge, items, on_progress=kill)
    assert len(server.questions) == 3
    again = Store(store.folder)
    told: list[tuple[int, int]] = []
    summary = judge_answers(
        again, judge, items, on_progress=lambda done, total: told.append((done, total))
    )
    assert (summary.asked, summary.outcomes) == (7, {"tie": 5, "identical": 1})
    assert told == [(done, 7) for done in range(8)]
    assert len(server.questions) == len(set(server.questions)) == 10


def test_a_finished_judging_does_not_even_connect(server, store, judge, items) -> None:
    judge_answers(store, judge, items)
    calls = len(server.bodies)
    assert judge_answers(Store(store.folder), judge, items).outcomes == {"tie": 5, "identical": 1}
    assert len(server.bodies) == calls


def test_failed_questions_alone_are_asked_again(server, store, judge, items) -> None:
    server.script = lambda prompt: server.says("[[C]]" if "Instruction 1" in prompt else "hm")
    assert judge_answers(store, judge, items).outcomes == {"tie": 1, "failed": 4, "identical": 1}
    server.questions.clear()
    server.script = lambda prompt: server.says("[[C]]")
    summary = judge_answers(Store(store.folder), judge, items)
    assert (summary.asked, summary.outcomes) == (8, {"tie": 5, "identical": 1})
    assert not any("Instruction 1" in prompt for prompt in server.questions)


def test_another_judge_or_other_words_are_another_question(
    server, store, judge, judge_file, items
) -> None:
    judge_answers(store, judge, items, limit=2)
    asked = len(server.questions)
    judge_answers(store, load_judge(judge_file(temperature=1.0)), items, limit=2)
    assert len(server.questions) == 2 * asked
    other = {"set": {name: ItemText("Other", "", ("x",)) for name in items["set"]}}
    judge_answers(store, judge, other, limit=2)
    assert len(server.questions) == 3 * asked


def test_the_reference_can_be_the_opponent(server, store, judge, items) -> None:
    server.prefer("to ")
    summary = judge_answers(store, judge, items, against="reference", limit=1)
    assert summary.outcomes == {"loss": 2}
    assert {record.opponent for record in verdicts(store)} == {None}
    assert not any("begin reference" in prompt for prompt in server.questions)
