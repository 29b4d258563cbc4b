import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from adakd.errors import AdakdError
from adakd.judging.answer_files import TASK, read_answers
from adakd.judging.base import ItemText
from adakd.judging.comparisons import comparisons, matches
from adakd.store import Store
from adakd.store.records import ScoreRecord


@pytest.fixture
def write(tmp_path: Path):
    """Write lines of answers; texts and bytes as they are."""

    def write(name, *lines):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        encoded = [
            line if isinstance(line, bytes) else json.dumps(line).encode("utf-8") for line in lines
        ]
        file.write_bytes(b"".join(line + b"\n" for line in encoded))
        return file

    return write


def _line(answer="fine", instruction="Say it.", **rest):
    return {"instruction": instruction, "answer": answer, **rest}


def _said(score: ScoreRecord) -> dict[str, str | None]:
    return {item.id: item.answer for item in score.items}


def test_items_are_matched_by_id_whatever_their_order(write) -> None:
    mine = write("mine.jsonl", _line("a", "q1", id=1), _line("b", "q2", id="two"))
    theirs = write("theirs.jsonl", _line("c", "q2", id="two"), _line("d", "q1", id="1"))
    found = read_answers(mine, theirs)
    assert _said(found.candidate[0]) == {"1": "a", "two": "b"}
    assert _said(found.opponent[0]) == {"1": "d", "two": "c"}
    assert found.items == {TASK: {"1": ItemText("q1", "", ()), "two": ItemText("q2", "", ())}}
    assert found.unmatched == (0, 0)


def test_without_ids_the_question_tells_items_apart(write) -> None:
    mine = write("mine.jsonl", _line("a", input="x", id=1), _line("b", input="y"))
    theirs = write("theirs.jsonl", _line("c", input="y\n"), _line("d", input="x"))
    found = read_answers(mine, theirs)
    answers = [list(_said(score).values()) for score in found.scores]
    assert answers == [["a", "b"], ["d", "c"]]
    assert _said(found.candidate[0]).keys() == _said(found.opponent[0]).keys()


def test_lines_without_a_counterpart_are_counted(write) -> None:
    mine = write("mine.jsonl", *(_line(instruction=q) for q in ("a", "b", "c")))
    theirs = write("theirs.jsonl", *(_line(instruction=q) for q in ("c", "d")))
    found = read_answers(mine, theirs)
    assert found.unmatched == (2, 1)
    assert [score.n for score in found.scores] == [1, 1]
    assert [text.instruction for text in found.items[TASK].values()] == ["c"]


def test_each_set_is_a_task_of_its_own(write) -> None:
    lines = [_line("a", "q", id=1, set="x"), _line("b", "r", id=1, set="y"), _line(id=1)]
    found = read_answers(write("mine.jsonl", *lines), write("theirs.jsonl", *lines))
    assert [score.task for score in found.candidate] == ["x", "y", TASK]
    assert [score.task for score in found.opponent] == ["x", "y", TASK]
    assert list(found.items) == ["x", "y", TASK]
    assert len({score.key for score in found.scores}) == 6


def test_answers_are_scored_where_there_is_a_reference(write) -> None:
    references = ["the red fox", "a fox"]
    mine = write(
        "mine.jsonl",
        _line("the red fox", "q1", reference=references),
        _line("a cow", "q2", reference=""),
    )
    theirs = write("theirs.jsonl", _line("a dog", "q1"), _line("a cow", "q2"))
    mine, theirs = read_answers(mine, theirs).scores
    assert [item.value for item in mine.items] == [1.0, None]
    assert [item.value for item in theirs.items] == [pytest.approx(0.5), None]
    assert (mine.value, mine.n, mine.unscored) == (1.0, 2, 1)
    assert (mine.metric, mine.sort, mine.sampling_seed) == ("rouge_l", "answers", None)


def test_without_any_reference_there_is_no_score_and_no_zero(write, tmp_path) -> None:
    files = write("mine.jsonl", _line("a")), write("theirs.jsonl", _line("b"))
    (score, _) = read_answers(*files).scores
    assert math.isnan(score.value)
    assert (score.n, score.unscored, score.items[0].value) == (1, 1, None)
    Store(tmp_path / "run").add(score)
    (kept,) = Store(tmp_path / "run").of(ScoreRecord)
    assert kept.model_dump(exclude={"value"}) == score.model_dump(exclude={"value"})
    assert math.isnan(kept.value)


def test_null_is_a_field_that_is_not_given_and_other_fields_are_passed_over(write) -> None:
    nothing = {"input": None, "reference": None, "id": None, "set": None}
    mine = write("mine.jsonl", _line("a", **nothing, model="m", latency=[1, {}]))
    theirs = write("theirs.jsonl", b"\xef\xbb\xbf" + json.dumps(_line("b")).encode() + b"\r", b" ")
    found = read_answers(mine, theirs)
    assert list(found.items[TASK].values()) == [ItemText("Say it.", "", ())]
    assert [score.items[0].answer for score in found.scores] == ["a", "b"]


def test_an_empty_answer_is_an_answer(write) -> None:
    found = read_answers(write("mine.jsonl", _line("")), write("theirs.jsonl", _line("b")))
    assert found.candidate[0].items[0].answer == ""


@pytest.mark.parametrize("field", ["reference", "references"])
def test_either_file_may_give_the_references(write, field) -> None:
    mine = write("mine.jsonl", _line("a"))
    theirs = write("theirs.jsonl", _line("b", **{field: ["x", " ", "y"]}))
    (text,) = read_answers(mine, theirs).items[TASK].values()
    assert text.references == ("x", "y")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"instruction": "q"}, r"'answer' is missing \(found: instruction\); add it"),
        ({"instruction": "q", "response": "x"}, "rename 'response' to 'answer'"),
        ({"prompt": "q", "answer": "x"}, "rename 'prompt' to 'instruction'"),
        (_line(7), "field 'answer' is 7; make it a text"),
        (_line(None), "field 'answer' is null; make it a text"),
        (_line(input=["x"]), "field 'input' is .*; make it a text"),
        (_line(reference=7), "field 'reference' is 7; make it a text or a list of texts"),
        (_line(references=["x", 7]), r"field 'references' is \[\"x\", 7\]; make it"),
        (_line(id=1.5), "field 'id' is 1.5; make it a text or a whole number"),
        (_line(id=True), "field 'id' is true; make it a text or a whole number"),
        (_line(set=3), "field 'set' is 3; make it a text"),
        (_line(id="\ud800"), "field 'id' has half of a surrogate pair"),
        (_line("\ud800"), "field 'answer' has half of a surrogate pair"),
        ([_line()], "expected a JSON object, found list"),
        (b"{'answer': 1}", "expected JSON Lines"),
        (b'{"answer": "\xff"}', "can't decode byte 0xff"),
    ],
)
def test_a_bad_line_is_named_with_its_file_number_field_and_fix(write, line, message) -> None:
    good = write("good.jsonl", _line())
    bad = write("bad.jsonl", _line(), b"", line)
    with pytest.raises(AdakdError, match=rf"bad\.jsonl, line 3: .*{message}"):
        read_answers(good, bad)


def test_a_file_that_cannot_be_read_or_is_empty_is_an_error(write, tmp_path) -> None:
    good = write("good.jsonl", _line())
    with pytest.raises(AdakdError, match=r"gone\.jsonl: no such file; expected a JSON Lines"):
        read_answers(good, tmp_path / "gone.jsonl")
    with pytest.raises(AdakdError, match="is a folder"):
        read_answers(tmp_path, good)
    with pytest.raises(AdakdError, match=r"empty\.jsonl: empty; expected one JSON object a line"):
        read_answers(write("empty.jsonl", b" "), good)


def test_an_item_that_stands_twice_is_an_error(write) -> None:
    good = write("good.jsonl", _line(id=1))
    twice = write("twice.jsonl", _line("a"), _line("b", id=1))
    with pytest.raises(
        AdakdError, match=r"twice\.jsonl, line 1 and line 2: duplicate instruction and input"
    ):
        read_answers(good, twice)
    twice = write("twice.jsonl", _line("a", id=1), _line("b", "other", id="1"))
    with pytest.raises(AdakdError, match=r"twice\.jsonl, line 1 and line 2: duplicate id '1'"):
        read_answers(twice, good)


@pytest.mark.parametrize("field", ["instruction", "input", "reference"])
def test_one_id_for_two_questions_is_an_error_that_names_both_lines(write, field) -> None:
    same = {"instruction": "q", "input": "i", "reference": "r", "id": 1, "answer": "a"}
    mine = write("mine.jsonl", same)
    theirs = write("theirs.jsonl", {**same, "id": 2}, {**same, field: "another"})
    with pytest.raises(
        AdakdError,
        match=rf"mine\.jsonl, line 1 and .*theirs\.jsonl, line 2: .*'{field}' of .* differs",
    ):
        read_answers(mine, theirs)


def test_files_that_share_nothing_are_an_error(write) -> None:
    mine = write("mine.jsonl", _line(instruction="q"))
    theirs = write("theirs.jsonl", _line(instruction="r"))
    with pytest.raises(
        AdakdError, match=r"no item in common: give .*`id`, or `set`, `instruction`"
    ):
        read_answers(mine, theirs)


def test_files_are_called_by_what_tells_them_apart(write) -> None:
    def names(*files):
        found = read_answers(*(write(file, _line()) for file in files))
        return [score.cell.divergence for score in found.scores]

    assert names("mine.jsonl", "theirs.json") == ["mine", "theirs"]
    assert names("a/answers.jsonl", "b/answers.jsonl") == ["a/answers", "b/answers"]
    assert names("mine.jsonl", "reference.jsonl") == ["mine", "reference.jsonl"]
    with pytest.raises(AdakdError, match="they have the same name; rename one"):
        names("same.jsonl", "same.json")


def test_an_edited_file_is_other_records_and_a_rewritten_one_the_same(write) -> None:
    def keys(*lines):
        found = read_answers(write("mine.jsonl", *lines), theirs)
        return [(score.cell.key, score.key) for score in found.scores]

    theirs = write("theirs.jsonl", _line("b"))
    first = keys(_line("a"))
    assert keys({**dict(reversed(_line("a").items())), "tool": "x"}) == first
    edited = keys(_line("A"))
    assert edited[1] == first[1]
    assert set(edited[0]).isdisjoint(first[0])


def test_two_files_of_the_same_content_are_two_cells(write) -> None:
    found = read_answers(write("mine.jsonl", _line()), write("theirs.jsonl", _line()))
    assert len({score.key for score in found.scores}) == 2
    assert [score.cell.role for score in found.scores] == ["file", "file"]


def test_the_files_make_one_pair_to_judge(write) -> None:
    mine = write("mine.jsonl", _line("a", "q1"), _line("b", "q2"))
    theirs = write("theirs.jsonl", _line("c", "q1"), _line("d", "q2"))
    found = read_answers(mine, theirs)
    subject = found.subject
    (pair,) = comparisons(subject.scores, subject.against)
    assert (pair.candidate, pair.opponent) == found.scores
    answers = {(d.answer, d.other) for prompt in matches([pair], subject.items) for d in prompt}
    assert answers == {("a", "c"), ("b", "d")}


def test_files_without_references_are_read_without_the_scorer(write) -> None:
    files = write("mine.jsonl", _line("a")), write("theirs.jsonl", _line("b"))
    code = (
        "import sys; from pathlib import Path\n"
        "from adakd.judging.answer_files import read_answers\n"
        "read_answers(*map(Path, sys.argv[1:]))\n"
        "assert not {'torch', 'rouge_score'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code, *map(str, files)], check=True)
