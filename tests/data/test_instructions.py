"""Reading sources: rows, selections, and errors that name the line."""

import json
from pathlib import Path
from typing import Any

import pytest

from adakd.config import Columns, Generated, Hub, Jsonl, Suite
from adakd.data import Row, read_rows
from adakd.data.instructions import _from_hub
from adakd.errors import AdakdError

GOOD = {"instruction": "Say hello.", "input": "", "output": "hello there"}


@pytest.fixture
def rows_file(tmp_path: Path):
    def write(*rows: Any) -> Path:
        file = tmp_path / "rows.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return file

    return write


@pytest.fixture
def suite(make_suite) -> Suite:
    return make_suite()


def read(file: Path, suite: Suite, **selection: Any) -> list[Row]:
    return read_rows(Jsonl(kind="jsonl", path=file.resolve(), **selection), suite)


def test_a_line_is_a_row(rows_file, suite: Suite) -> None:
    full = {"id": 7, "instruction": "Sag Grüße.", "input": "now", "output": "Grüße", "more": [1]}
    rows = read(rows_file(full, "", GOOD), suite)
    assert rows[0] == Row("7", "Sag Grüße.", "now", ("Grüße",))
    assert rows[1] == Row("3", "Say hello.", "", ("hello there",))


@pytest.mark.parametrize("outputs", [["one", "two"], "one"])
def test_several_references_stand_in_outputs(rows_file, suite: Suite, outputs: Any) -> None:
    (row,) = read(rows_file({**GOOD, "outputs": outputs}), suite)
    assert row.references == (tuple(outputs) if isinstance(outputs, list) else (outputs,))


@pytest.mark.parametrize("nothing", [None, []])
def test_without_outputs_the_output_is_the_reference(rows_file, suite: Suite, nothing) -> None:
    (row,) = read(rows_file({**GOOD, "outputs": nothing}), suite)
    assert row.references == ("hello there",)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("{not json", "Expecting property name"),
        ("[1, 2]", "expected an object, found list"),
        ({"instruction": "x"}, "field 'output' is missing (there: instruction)"),
        ({"output": "x"}, "field 'instruction' is missing"),
        ({**GOOD, "output": 3}, "field 'output' is int, not text"),
        ({**GOOD, "instruction": ["x"]}, "field 'instruction' is list, not text"),
        ({**GOOD, "input": {"a": 1}}, "field 'input' is dict, not text"),
        ({**GOOD, "outputs": ["x", 3]}, "field 'outputs' is not a list of texts"),
        ({**GOOD, "outputs": {"x": "y"}}, "field 'outputs' is not a list of texts"),
        ({**GOOD, "outputs": 3}, "field 'outputs' is not a list of texts"),
        ({**GOOD, "id": "1"}, "duplicate id '1'"),
    ],
)
def test_a_bad_line_is_named_with_its_number(rows_file, suite: Suite, bad: Any, why: str) -> None:
    file = rows_file(GOOD, "", bad, GOOD)
    with pytest.raises(AdakdError) as caught:
        read(file, suite)
    assert f"{file.name}, line 3: " in str(caught.value)
    assert why in str(caught.value)


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path, suite: Suite) -> None:
    file = tmp_path / "latin.jsonl"
    bad = json.dumps(GOOD).replace("hello", "h\u00e9llo", 1)
    file.write_bytes(json.dumps(GOOD).encode() + b"\n" + bad.encode("latin-1") + b"\n")
    with pytest.raises(AdakdError, match=r"latin\.jsonl, line 2: .*utf-8"):
        read(file, suite)


def test_what_editors_do_to_files_is_no_mistake(tmp_path: Path, suite: Suite) -> None:
    file = tmp_path / "edited.jsonl"
    line = json.dumps({**GOOD, "output": "a\u2028b"}, ensure_ascii=False).encode()
    file.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n" + line + b"\r\n\r\n")
    assert [row.references for row in read(file, suite)] == [("a\u2028b",)] * 2


# --- selection --------------------------------------------------------------------------------


def numbered(count: int) -> list[dict[str, Any]]:
    return [{**GOOD, "id": n, "output": "word " * (n % 4 + 1)} for n in range(count)]


def test_a_limit_is_the_same_sample_every_time_in_source_order(rows_file, suite: Suite) -> None:
    file = rows_file(*numbered(40))
    ids = [int(row.id) for row in read(file, suite, limit=12)]
    assert ids == sorted(set(ids))
    assert len(ids) == 12
    assert ids != list(range(12))
    assert ids == [int(row.id) for row in read(file, suite, limit=12)]
    assert len(read(file, suite, limit=40)) == len(read(file, suite, limit=99)) == 40


def test_short_references_are_dropped_before_the_limit(rows_file, suite: Suite) -> None:
    file = rows_file(*numbered(40))
    rows = read(file, suite, min_response_words=3, limit=15)
    assert len(rows) == 15
    assert all(len(row.references[0].split()) >= 3 for row in rows)
    assert len(read(file, suite, min_response_words=3)) == 20


def test_nothing_left_is_an_error(rows_file, suite: Suite) -> None:
    with pytest.raises(AdakdError, match="no rows left"):
        read(rows_file(GOOD), suite, min_response_words=3)
    with pytest.raises(AdakdError, match="no rows left"):
        read(rows_file(), suite)


# --- the other sources ------------------------------------------------------------------------


def test_the_generator_is_a_source(suite: Suite) -> None:
    rows = read_rows(Generated(kind="generated", rows=9, limit=4), suite)
    all_rows = read_rows(Generated(kind="generated", rows=9), suite)
    assert len(rows) == 4
    assert set(rows) < set(all_rows)


def test_a_hub_set_is_read_by_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: dict[str, Any] = {}

    def load_dataset(name: str, **options: Any) -> Any:
        asked.update(options, name=name)
        table = {"q": ["Q1", "Q2"], "c": ["", "C2"], "a": [["A1", "B1"], ["A2"]], "n": ["x", "y"]}
        return datasets.Dataset.from_dict(table)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    columns = Columns(id="n", instruction="q", input="c", outputs="a")
    source = Hub(kind="hub", id="who/what", split="test", revision="abc", columns=columns)
    rows = [Row("x", "Q1", "", ("A1", "B1")), Row("y", "Q2", "C2", ("A2",))]
    assert _from_hub(source).rows == rows
    assert asked == {"name": "who/what", "split": "test", "revision": "abc"}
    wrong = source.model_copy(update={"columns": Columns(instruction="question")})
    with pytest.raises(AdakdError, match=r"row 1: field 'question' is missing.*`columns`"):
        _from_hub(wrong)


def test_a_hub_set_out_of_reach_says_what_to_do(suite: Suite) -> None:
    source = Hub(kind="hub", id="nobody/has-this")
    with pytest.raises(AdakdError, match=r"'nobody/has-this' \(train\).*set data\.folder"):
        read_rows(source, suite)
