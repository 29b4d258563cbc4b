"""Training rows that equal an evaluation item."""

import json
from pathlib import Path
from typing import Any

import pytest

from adakd.commands.plan import data_lines
from adakd.config import Suite
from adakd.data import Row
from adakd.data.instructions import Content, read_source
from adakd.data.overlap import normalized_prompt, training_rows
from adakd.errors import AdakdError
from adakd.planning import plan

ITEM = {"instruction": "Name the 3 “primary” colours.", "input": "", "output": "red, yellow, blue"}
OTHERS = [
    {"instruction": f"Count to {n}.", "input": "", "output": " ".join(map(str, range(n)))}
    for n in range(2, 8)
]


@pytest.fixture
def make(make_suite, tmp_path: Path):
    """Make a suite with these training rows and evaluation items."""

    def write(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        file = tmp_path / name
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return {"kind": "jsonl", "path": str(file)}

    def made(rows: list[dict[str, Any]], items: list[dict[str, Any]], **data: str) -> Suite:
        changes = {
            "data.train": write("train.jsonl", rows),
            "evaluation.sets": {"own": write("own.jsonl", items)},
            "evaluation.choices": [],
        }
        return make_suite(changes | {f"data.{name}": value for name, value in data.items()})

    return made


@pytest.mark.parametrize(
    ("instruction", "input"),
    [
        ("Name the 3 “primary” colours.", ""),
        ("name the 3\u2028 'primary'  COLOURS", ""),
        ('Name the ３ "primary"\u00a0colours!\r\n', ""),
        ("Name the 3\u200b", "primary colours."),
    ],
)
def test_the_same_prompt_in_other_writing_is_left_out(make, instruction: str, input: str) -> None:
    again = {"instruction": instruction, "input": input, "output": "another answer"}
    found = training_rows(make([OTHERS[0], again, *OTHERS[1:]], [ITEM]))
    assert [row.instruction for row in found.rows] == [row["instruction"] for row in OTHERS]
    assert found.overlapping == (1,)
    assert found.by_set == {"own": 1}


def test_citation_marks_of_another_release_make_no_difference(make) -> None:
    text = "Oslo is the capital of Norway{}. It has a harbour{}."
    item = {"instruction": "Sum up.", "input": text.format("[3]", "[12][ 4 ]"), "output": "Oslo."}
    row = {**item, "input": text.format("", "")}
    assert training_rows(make([row, *OTHERS], [item])).overlapping == (0,)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What is 5-3?", "What is 5+3?"),
        ("What is 5 - 3?", "What is 5 + 3?"),
        ("What is a[0]?", "What is a[1]?"),
        ("Übersetze.", "Ubersetze."),
        ("什么是人工智能？", "什么是机器学习？"),
        ("🙂", "🙁"),
        ("?", "!"),
    ],
)
def test_other_prompts_stay(first: str, second: str) -> None:
    one, other = (normalized_prompt(Row("1", text, "", ("x",))) for text in (first, second))
    assert one != other


def test_the_same_text_with_another_input_stays(make) -> None:
    item = {"instruction": "Sum up.", "input": "A long text.", "output": "Text."}
    found = training_rows(make([{**item, "input": "Another text."}, *OTHERS], [item]))
    assert len(found.rows) == 7
    assert not found.overlapping
    assert found.by_set == {}


def test_keep_trains_on_them_and_says_so(make) -> None:
    suite = make([ITEM, *OTHERS], [ITEM, OTHERS[2]], overlap="keep")
    found = training_rows(suite)
    assert len(found.rows) == 7
    assert found.overlapping == (0, 3)
    (line,) = data_lines(suite)
    assert "TRAINED ON" in line
    assert "2 (own 2) equal an evaluation item" in line


def test_the_plan_says_how_many_are_left_out(make) -> None:
    (line,) = data_lines(make([ITEM, *OTHERS], [ITEM, OTHERS[2]]))
    assert line == "training rows: 2 (own 2) equal an evaluation item and are left out"
    assert "0 equal an evaluation item" in data_lines(make(OTHERS, [ITEM]))[0]


def test_nothing_but_evaluation_items_is_an_error(make) -> None:
    with pytest.raises(AdakdError, match=r"all 6 training rows equal .*own 6.*overlap to keep"):
        training_rows(make(OTHERS, OTHERS))


def test_the_rows_that_are_left_out_are_in_the_keys_and_nothing_else_is(make) -> None:
    def keys(*args: Any, **data: str) -> set[str]:
        return {cell.key for cell in plan(make(*args, **data)).cells}

    none = keys([ITEM, *OTHERS], [{**ITEM, "instruction": "Sing."}])
    assert keys([ITEM, *OTHERS], [{**ITEM, "instruction": "Dance."}]) == none
    assert keys([ITEM, *OTHERS], [{**ITEM, "instruction": "Sing."}], overlap="keep") == none
    left_out = keys([ITEM, *OTHERS], [ITEM])
    assert not left_out & none
    assert keys([ITEM, *OTHERS], [{**ITEM, "output": "none"}, {**ITEM, "id": "b"}]) == left_out
    assert keys([ITEM, *OTHERS], [ITEM], overlap="keep") == none


def test_sets_on_the_hub_enter_the_keys_unread(make_suite) -> None:
    def keys(**sources: Any) -> set[str]:
        changes = {"evaluation.choices": [], **sources}
        return {cell.key for cell in plan(make_suite(changes)).cells}

    hub = {"kind": "hub", "id": "who/what"}
    base, other = keys(), keys(**{"evaluation.sets": {"a": hub}})
    assert not base & other
    assert not other & keys(**{"evaluation.sets": {"a": {**hub, "split": "test"}}})
    (line,) = data_lines(make_suite({"evaluation.choices": [], "evaluation.sets": {"a": hub}}))
    assert line == "training rows: those that equal an item of a are left out, once loaded"


def test_a_training_record_tells_them_from_other_left_out_rows(make, trainings) -> None:
    opened = trainings(make([ITEM, *OTHERS, {**OTHERS[0], "output": ""}], [ITEM]))
    record = opened.train(opened.find())
    assert (record.rows, record.left_out) == (6, 1)
    assert (record.overlap_left_out, record.overlap_kept) == (1, 0)


def test_characters_without_a_form_make_no_word() -> None:
    shown = Row("1", "Name \u200b the\u00ad pri\u2060mary colours", "", ("x",))
    assert normalized_prompt(shown) == "name the primary colours"


def test_plan_and_run_read_local_rows_once(make, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, read = make([ITEM, *OTHERS], [OTHERS[0]]), []

    def reading(source: Any, suite: Suite) -> Content:
        read.append(source)
        return read_source(source, suite)

    monkeypatch.setattr("adakd.data.overlap.read_source", reading)
    plan(suite)
    assert len(read) == 2
    data_lines(suite)
    assert training_rows(suite).overlapping == (1,)
    assert len(read) == 2


def test_files_that_have_changed_are_read_again(make) -> None:
    assert training_rows(make([ITEM, *OTHERS], [OTHERS[0]])).overlapping == (1,)
    assert training_rows(make([ITEM, *OTHERS], [OTHERS[1]])).overlapping == (2,)
