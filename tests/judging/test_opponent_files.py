"""Answers of a fixed model as the opponent of every student of a run."""

import json
from pathlib import Path

import pytest

from adakd.errors import AdakdError
from adakd.judging.base import ItemText
from adakd.judging.comparisons import comparisons
from adakd.judging.opponent_files import read_opponent

ITEMS = {
    "x": {"1": ItemText("q1", "", ("r",)), "2": ItemText("q2", "in", ())},
    "y": {"1": ItemText("q1", "", ("s",))},
}


@pytest.fixture
def write(tmp_path: Path):
    def write(*lines, name="fixed.jsonl"):
        file = tmp_path / name
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return file

    return write


def line(instruction, answer, **rest):
    return {"instruction": instruction, "answer": answer, **rest}


def said(scores):
    return {score.task: {item.id: item.answer for item in score.items} for score in scores}


def test_a_line_answers_its_question_in_every_set(write) -> None:
    scores, missing = read_opponent(write(line(" q1\n", "a"), line("q9", "z")), ITEMS, [])
    assert said(scores) == {"x": {"1": "a"}, "y": {"1": "a"}}
    assert missing == 1
    assert {score.cell.role for score in scores} == {"file"}
    assert {score.cell.method for score in scores} == {"fixed"}


def test_a_line_that_names_its_set_answers_there_alone(write) -> None:
    file = write(line("q1", "a", set="y"), line("q2", "b", input="in"))
    scores, missing = read_opponent(file, ITEMS, [])
    assert said(scores) == {"x": {"2": "b"}, "y": {"1": "a"}}
    assert missing == 1


def test_every_student_is_compared_with_it(write, make_cell, make_score) -> None:
    runs = [
        make_score(make_cell(arm, seed), {"1": "m"}, "x", sampling)
        for arm in ("plain", "adakd")
        for seed in (1, 2)
        for sampling in (10, 20)
    ]
    fixed, _ = read_opponent(write(line("q1", "a")), ITEMS, [])
    found = comparisons([*runs, *fixed], "fixed")
    assert len(found) == len(runs)
    assert {one.opponent.cell.method for one in found} == {"fixed"}
    assert {one.candidate.cell.role for one in found} == {"distilled"}


def test_a_name_that_the_run_uses_gets_its_ending(write) -> None:
    scores, _ = read_opponent(write(line("q1", "a"), name="sft.jsonl"), ITEMS, ["sft"])
    assert scores[0].cell.method == "sft.jsonl"


def test_other_answers_are_another_opponent(write) -> None:
    keys = {read_opponent(write(line("q1", text)), ITEMS, [])[0][0].cell.key for text in "ab"}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([line("q9", "a")], "fixed.jsonl: answers no item of this run"),
        ([line("q1", "a"), line("q1", "b")], "fixed.jsonl, line 2: a second answer"),
    ],
)
def test_a_file_that_does_not_fit_is_told(write, lines, why) -> None:
    with pytest.raises(AdakdError, match=why):
        read_opponent(write(*lines), ITEMS, [])


def test_an_answer_given_twice_alike_is_one(write) -> None:
    scores, _ = read_opponent(write(line("q1", "a"), line("q1", "a")), ITEMS, [])
    assert said(scores)["x"] == {"1": "a"}
