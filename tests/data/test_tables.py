"""Files of rows: the same rows in every format, and errors that name file, row and field."""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from adakd.commands.plan import data_lines
from adakd.config import Hub, Jsonl, Suite
from adakd.data import Row, read_rows
from adakd.data.files import rows_of
from adakd.data.overlap import training_rows
from adakd.errors import AdakdError

ROWS = [
    {"id": "a", "instruction": "Say \u2028 it.", "input": "", "output": "it\x85\u2029is\r\nso\x00"},
    {"id": "b", "instruction": "说，", "input": 'x,"y"\n', "output": "🙂"},
    {"id": "c", "instruction": "Again.", "input": "NA", "output": "007"},
]
READ = [Row(row["id"], row["instruction"], row["input"], (row["output"],)) for row in ROWS]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def table(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def in_parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


FORMATS: dict[str, Callable[[Any], bytes]] = {
    "rows.jsonl": lines,
    "crlf.jsonl": lambda rows: lines(rows).replace(b"\n", b"\r\n"),
    "bom.jsonl": lambda rows: b"\xef\xbb\xbf" + lines(rows),
    "unnamed": lines,
    "one-line.json": lambda rows: json.dumps(rows).encode(),
    "indented.json": lambda rows: b"\xef\xbb\xbf" + json.dumps(rows, indent=2).encode(),
    "array.jsonl": lambda rows: json.dumps(rows, indent=1).encode(),
    "rows.csv": table,
    "bom.csv": lambda rows: b"\xef\xbb\xbf" + table(rows),
    "rows.tsv": lambda rows: table(rows, "\t"),
    "rows.parquet": in_parquet,
    "rows.jsonl.gz": lambda rows: gzip.compress(lines(rows)),
    "hidden.jsonl": lambda rows: gzip.compress(lines(rows)),
    "rows.csv.gz": lambda rows: gzip.compress(table(rows)),
    "rows.json.bz2": lambda rows: bz2.compress(json.dumps(rows).encode()),
    "rows.jsonl.xz": lambda rows: lzma.compress(lines(rows)),
}


@pytest.fixture
def read(tmp_path: Path, make_suite):
    suite: Suite = make_suite()

    def reading(name: str, content: bytes, **settings: Any) -> list[Row]:
        file = tmp_path / name
        file.write_bytes(content)
        source = Jsonl(kind="jsonl", path=file, **settings)
        rows = read_rows(source, suite)
        assert rows_of(source, suite) == len(rows)
        return rows

    return reading


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(read, name: str) -> None:
    assert read(name, FORMATS[name](ROWS)) == READ


def test_zstandard(read, tmp_path: Path) -> None:
    file = tmp_path / "made"
    with pyarrow.CompressedOutputStream(str(file), "zstd") as stream:
        stream.write(lines(ROWS))
    assert read("rows.jsonl.zst", file.read_bytes()) == READ


def test_lists_of_references_in_parquet(read) -> None:
    rows = [{**row, "outputs": [row["output"], "other"]} for row in ROWS]
    assert {row.references[1] for row in read("rows.parquet", in_parquet(rows))} == {"other"}


GOOD = {"instruction": "Say it.", "output": "it"}
HALF = '{"instruction": "x", "output": "abc\\ud83d"}\n'


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (
            "a.jsonl",
            lines([GOOD]) + HALF.encode(),
            r"line 2: field 'output': character 4 is '\ud83",
        ),
        ("a.json", b"[" + lines([GOOD]) + b"," + HALF.encode() + b"]", "row 2: field 'output'"),
        ("a.jsonl", lines([GOOD, {**GOOD, "output": None}]), "line 2: field 'output' is null"),
        ("a.json", json.dumps([GOOD, 3]).encode(), "row 2: expected an object, found int"),
        ("a.json", json.dumps(GOOD, indent=1).encode(), "an object over several lines"),
        ("a.json", b'[{"instruction": "x",', "starts as a JSON array"),
        ("a.jsonl", lines([GOOD]) + b"[" * 100_000, "line 2: "),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.jsonl", b'{"a":' * 100_000, "nested too deeply"),
        ("a.csv", b"instruction,output\nx,y\nx,y,z\n", "line 3: 3 cells under 2 column names"),
        ("a.csv", b'instruction,output\nx,"y\n', "line 2: unexpected end of data"),
        (
            "a.csv",
            b"instruction,answer\nx,y\n",
            "line 2: field 'output' is missing",
        ),
        ("a.csv", b"input,input\n", "line 1: two columns of one name"),
        ("a.csv", "instruction,output\nx,é\n".encode("latin-1"), "save the file in UTF-8"),
        (
            "a.parquet",
            in_parquet([{**GOOD, "output": 7}]),
            "row 1: field 'output' is int",
        ),
        ("a.parquet", in_parquet(ROWS)[:-20], "damaged Parquet"),
        ("a.jsonl.gz", gzip.compress(lines(ROWS))[:-9], "decompressed"),
        ("a.xlsx", b"PK\x03\x04...", "a zip archive or a spreadsheet"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("a.jsonl", b"", "data file"),
        ("a.csv", b"instruction,output\n", "no rows left"),
        ("a.json", b"[]", "no rows left"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(read, name: str, content: bytes, why: str) -> None:
    with pytest.raises(AdakdError) as caught:
        read(name, content)
    assert name in str(caught.value)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


# --- columns ----------------------------------------------------------------------------------

QA = [{"q": f"Who wrote book {n}?", "context": f"Author {n} did.", "a": f"{n}"} for n in range(8)]
NAMES = {"instruction": "q", "input": "context", "output": "a"}


@pytest.mark.parametrize("name", FORMATS)
def test_the_fields_of_any_file_can_be_named(read, name: str) -> None:
    first = read(name, FORMATS[name](QA), columns=NAMES)[0]
    assert first.instruction == "Who wrote book 0?"
    assert (first.input, first.references) == ("Author 0 did.", ("0",))


@pytest.mark.parametrize("use", ["id", "input", "outputs"])
def test_a_named_field_that_no_row_has_is_an_error(read, use: str) -> None:
    with pytest.raises(AdakdError, match=rf"columns\.{use}: no row has a field 'contxt'"):
        read("a.jsonl", lines(QA), columns={**NAMES, use: "contxt"})


def test_a_local_copy_may_have_the_names_of_the_hub_or_ours(tmp_path: Path, make_suite) -> None:
    suite = make_suite({"data.folder": str(tmp_path)})
    columns = {"instruction": "q", "input": "context", "outputs": "a"}
    source = Hub.model_validate({"kind": "hub", "id": "x", "columns": columns, "local": "a.jsonl"})
    (tmp_path / "a.jsonl").write_bytes(lines([{**row, "a": [row["a"], "b"]} for row in QA]))
    theirs = read_rows(source, suite)
    ours = [
        {"instruction": r["q"], "input": r["context"], "output": r["a"], "outputs": [r["a"], "b"]}
        for r in QA
    ]
    (tmp_path / "a.jsonl").write_bytes(lines(ours))
    assert read_rows(source, suite) == theirs
    assert theirs[3].references == ("3", "b")
    assert theirs[3].input == "Author 3 did."


def test_fields_that_nothing_reads_are_told(tmp_path: Path, make_suite) -> None:
    rows = [{"instruction": r["q"], "context": r["context"], "output": r["a"]} for r in QA]
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    source = {"kind": "jsonl", "path": str(tmp_path / "a.jsonl")}
    suite = make_suite({"data.train": source})
    assert training_rows(suite).unread == {"data.train": ("context",)}
    assert any("data.train: nothing reads context" in line for line in data_lines(suite))
    named = make_suite({"data.train": {**source, "columns": {"input": "context"}}})
    assert training_rows(named).unread == {}
