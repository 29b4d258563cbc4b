"""Conversations of several turns: one item a turn, in FastChat's form or in ours."""

import json
from pathlib import Path

import pytest

from adakd.errors import AdakdError
from adakd.judging.answer_files import TASK, read_answers
from adakd.judging.comparisons import comparisons, matches
from adakd.judging.conversations import first_turn, turns_of

QUESTIONS = [
    {"question_id": 81, "category": "writing", "turns": ["Write.", "Shorten it."]},
    {"question_id": 101, "turns": ["1 + 1?", "Twice that?"], "reference": ["2", "4"]},
]


@pytest.fixture
def write(tmp_path: Path):
    def write(name, *lines):
        file = tmp_path / name
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return file

    return write


def fastchat(word):
    return [
        {
            "question_id": question["question_id"],
            "answer_id": "x",
            "model_id": word,
            "choices": [{"index": 0, "turns": [f"{word} one", f"{word} two"]}],
        }
        for question in QUESTIONS
    ]


def test_answers_in_fastchats_form_are_judged_turn_by_turn(write) -> None:
    questions = write("question.jsonl", *QUESTIONS)
    mine, theirs = write("a.jsonl", *fastchat("a")), write("b.jsonl", *reversed(fastchat("b")))
    found = read_answers(mine, theirs, questions)
    assert set(found.items) == {f"{TASK}, turn 1", f"{TASK}, turn 2"}
    first, second = found.items[f"{TASK}, turn 1"]["101"], found.items[f"{TASK}, turn 2"]["101"]
    assert (first.instruction, first.references) == ("1 + 1?", ("2",))
    assert "[Turn 1]\n1 + 1?\n\n[Turn 2]\nTwice that?" in second.instruction
    assert second.references == ("[Answer to turn 1]\n2\n\n[Answer to turn 2]\n4",)
    (last,) = (score for score in found.candidate if score.task.endswith("2"))
    said = {item.id: item.answer for item in last.items}
    assert said["81"] == "[Answer to turn 1]\na one\n\n[Answer to turn 2]\na two"
    assert not found.items[f"{TASK}, turn 1"]["81"].references


def test_the_turns_of_a_conversation_are_one_prompt(write) -> None:
    line = {"instruction": ["q", "r"], "answer": ["x", "y"]}
    other = {"instruction": "single", "answer": "z"}
    mine = write("a.jsonl", line, other)
    theirs = write("b.jsonl", {**line, "answer": ["u", "v"]}, {**other, "answer": "w"})
    found = read_answers(mine, theirs)
    prompts = matches(comparisons(found.scores, "b"), found.items)
    assert sorted(len(prompt) for prompt in prompts) == [1, 2]
    (both,) = (prompt for prompt in prompts if len(prompt) == 2)
    assert {match.task for match in both} == {f"{TASK}, turn 1", f"{TASK}, turn 2"}
    assert len({match.item for match in both}) == 1
    assert first_turn(both[0].task) == first_turn(both[1].task) == TASK
    assert len(matches(comparisons(found.scores, "b"), found.items, limit=1)) <= 2


@pytest.mark.parametrize("name", ["a, turn x", "turn 2", "a turn 2", "plain"])
def test_a_set_whose_name_only_looks_like_a_turn_stays(name: str) -> None:
    assert first_turn(name) == name


def test_a_line_of_one_turn_is_as_any_other() -> None:
    (line,) = turns_of({"instruction": ["q"], "answer": ["a"], "reference": ["r"]}, "set")
    assert (line["set"], line["instruction"], line["answer"]) == ("set", "q", "a")
    plain = {"instruction": "q", "answer": "a"}
    assert turns_of(plain, "set") == [plain]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"instruction": ["q", "r"], "answer": ["a"]}, "has 2 turns, but 'answer' has 1"),
        ({"instruction": ["q"], "answer": "a"}, "field 'answer': expected a list"),
        ({"instruction": "q", "answer": ["a"]}, "field 'instruction': expected a list"),
        ({"instruction": ["q", 1], "answer": ["a", "b"]}, "field 'instruction': expected a list"),
        ({"question_id": 1, "choices": []}, "give --questions question.jsonl"),
    ],
)
def test_turns_that_do_not_fit_are_told(write, line, why) -> None:
    good = write("good.jsonl", {"instruction": ["q"], "answer": ["a"]})
    with pytest.raises(AdakdError, match=rf"bad\.jsonl, line 1: .*{why}"):
        read_answers(write("bad.jsonl", line), good)


@pytest.mark.parametrize(
    ("question", "answer", "why"),
    [
        ({"turns": ["q"]}, None, r"question\.jsonl, line 1: field 'question_id' is missing"),
        ({"question_id": 1, "turns": "q"}, None, r"question\.jsonl, line 1: field 'turns'"),
        (
            {"question_id": 1, "turns": ["q"]},
            {"question_id": 2, "choices": [{"turns": ["a"]}]},
            r"a\.jsonl, line 1: question_id 2 is not among the questions",
        ),
        (
            {"question_id": 1, "turns": ["q"]},
            {"question_id": 1, "choices": [{"text": "a"}]},
            r"a\.jsonl, line 1: field 'choices'",
        ),
    ],
)
def test_a_question_or_answer_that_is_malformed_is_told(write, question, answer, why) -> None:
    mine = write("a.jsonl", answer or fastchat("a")[0])
    with pytest.raises(AdakdError, match=why):
        read_answers(mine, write("b.jsonl", *fastchat("b")), write("question.jsonl", question))


def test_a_set_of_alpacaeval_is_read_as_it_is(tmp_path: Path) -> None:
    rows = [
        {"dataset": "helpful_base", "instruction": "Say hi.", "output": out, "generator": "m"}
        for out in ("hi", "hello")
    ]
    for name, row in zip(("mine", "baseline"), rows, strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps([row]), encoding="utf-8")
    found = read_answers(tmp_path / "mine.json", tmp_path / "baseline.json")
    assert [score.items[0].answer for score in found.scores] == ["hi", "hello"]
