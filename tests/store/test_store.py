"""The record file: appended, read again after any crash, never half trusted."""

import errno
import gzip
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adakd.errors import AdakdError
from adakd.planning import Cell
from adakd.store import Store, locked
from adakd.store.records import (
    SCHEMA,
    ExampleRecord,
    Item,
    RunRecord,
    ScoreRecord,
    TrainingRecord,
    VerdictRecord,
)

CELL = Cell(role="sft", seed=1, key="cell")


def example(key: str, text: str = "question") -> ExampleRecord:
    return ExampleRecord(key=key, task="set", item="1", question=text, reference="r")


def scored(key: str = "score", **rest: Any) -> ScoreRecord:
    fields = {"value": 0.5, "items": (), "answers": key, **rest}
    return ScoreRecord(
        key=key, cell=CELL, task="t", sort="task", metric="m", title="m",
        sampling_seed=None, n=1, seconds=1.0, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    "ids", [["0", "0", "1", "1"], ["a", "a [2]", "a", "a [1]"], ["", "", "", ""]]
)
def test_items_have_ids_of_their_own_also_where_a_task_repeats_them(ids, folder: Path) -> None:
    """Differences are paired by id: with one for several items, they had the wrong sign."""
    values = [1.0, 0.0, 1.0, 1.0]
    items = tuple(Item(id=i, value=v) for i, v in zip(ids, values, strict=True))
    record, other = scored(items=items), scored("other", items=items)
    assert len({item.id for item in record.items}) == len(ids)
    assert [item.value for item in record.items] == values
    assert [item.id for item in record.items] == [item.id for item in other.items]
    Store(folder).add(record)
    assert Store(folder).get(ScoreRecord, "score") == record


def test_ids_that_are_unique_stay() -> None:
    items = (Item(id="b", value=1.0), Item(id="a", value=0.0))
    assert scored(items=items).items == items


def run_record(key: str, suite: dict[str, Any], wanted: tuple[str, ...] = ()) -> RunRecord:
    return RunRecord(
        key=key, started="2026-01-01T00:00:00+00:00", command="adakd run", suite=suite,
        suite_digest="0", wanted=wanted, versions={}, hardware={}, commit=None,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mine"


def test_a_metric_without_texts_has_those_of_the_same_answers(folder: Path) -> None:
    texts = (Item(id="1", value=0.5, answer="a"), Item(id="2", value=None, answer=""))
    values = (Item(id="1", value=0.1), Item(id="2", value=0.2))
    store = Store(folder)
    store.add(
        scored("first", items=texts, answers="same"),
        scored("further", items=values, answers="same"),
        scored("other", items=values, answers="others"),
    )
    store.add(run_record("run", {}, wanted=("further", "other")))
    for read in (store, Store(folder)):
        further, other = read.scores()
        assert [item.answer for item in further.items] == ["a", ""]
        assert [item.value for item in further.items] == [0.1, 0.2]
        assert other.items == values
        assert read.get(ScoreRecord, "further").items == values
        assert read.answered("same") == read.get(ScoreRecord, "first")
        assert read.answered("others") is None


def test_records_come_back_as_they_were(folder: Path) -> None:
    store = Store(folder)
    records = [
        TrainingRecord(key="cell", cell=CELL, status="failed", reason="the loss — ∞"),
        scored(items=(Item(id="1", value=None, answer="a\r\nb\u2028c"), Item(id="2", value=1.0))),
        example("one"),
    ]
    for record in records:
        store.add(record)
    for read in (store, Store(folder)):
        assert [read.get(type(record), record.key) for record in records] == records
        assert read.of(ExampleRecord) == [records[2]]
        assert "one" in read
        assert "two" not in read
        assert read.get(ScoreRecord, "one") is None


def test_a_store_that_is_only_read_writes_nothing(folder: Path) -> None:
    assert Store(folder).of(ExampleRecord) == []
    assert not folder.exists()


def test_writing_appends(folder: Path) -> None:
    store = Store(folder)
    store.add(example("one"))
    before = store.file.read_bytes()
    store.add(example("two"))
    assert store.file.read_bytes().startswith(before)
    again = Store(folder)
    again.add(example("three"))
    assert [record.key for record in Store(folder).of(ExampleRecord)] == ["one", "two", "three"]


def test_the_newest_of_each_key_counts_in_the_order_of_first_writing(folder: Path) -> None:
    store = Store(folder)
    for key, text in (("one", "old"), ("two", "x"), ("one", "new")):
        store.add(example(key, text))
    for read in (store, Store(folder)):
        assert [(r.key, r.question) for r in read.of(ExampleRecord)] == [
            ("one", "new"),
            ("two", "x"),
        ]


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_half_written_last_line_is_overwritten(folder: Path, cut: int) -> None:
    store = Store(folder)
    store.add(example("one"))
    store.add(example("two", "long " * 40))
    content = store.file.read_bytes()
    store.file.write_bytes(content[:-cut])
    again = Store(folder)
    assert "two" not in again
    again.add(example("three"))
    keys = [record.key for record in Store(folder).of(ExampleRecord)]
    assert keys == ["one", "three"]
    assert b"long" not in store.file.read_bytes()


@pytest.mark.parametrize("line", ["{", '{"kind": "poem", "key": "x"}', "null", "\x00"])
def test_a_corrupted_line_is_named(folder: Path, line: str) -> None:
    store = Store(folder)
    store.add(example("one"))
    with store.file.open("a") as stream:
        stream.write(line + "\n")
    Path(store.file).write_text(store.file.read_text() + example("three").model_dump_json() + "\n")
    with pytest.raises(AdakdError, match=r"results\.jsonl, line 2: "):
        Store(folder)


def test_a_number_that_is_none_survives(folder: Path) -> None:
    """Perplexities of bad models are infinite: that must not close the file to its readers."""
    store = Store(folder)
    store.add(scored("high", value=math.inf, items=(Item(id="1", value=math.inf),)))
    store.add(scored("none", value=math.nan))
    high, none = Store(folder).of(ScoreRecord)
    assert high.value == high.items[0].value == math.inf
    assert math.isnan(none.value)


def test_a_full_disk_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(folder)
    store.add(example("one"))

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            super().write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda self, mode="r", **_: Full(str(self), "r+"))
        with pytest.raises(AdakdError, match=r"results\.jsonl: No space left"):
            store.add(example("two", "long " * 40))
    assert "two" not in store
    assert [record.key for record in Store(folder).of(ExampleRecord)] == ["one"]
    store.add(example("three"))
    assert [record.key for record in Store(folder).of(ExampleRecord)] == ["one", "three"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AdakdError, match="file"):
        Store(tmp_path / "file" / "run").add(example("one"))
    with pytest.raises(AdakdError, match="file"):
        locked(tmp_path / "file" / "run")


def test_records_are_read_when_they_are_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of many cells has more records than fit in memory."""
    Store(folder).add(*(example(str(number)) for number in range(50)), scored("score"))
    read: list[int] = []
    whole = Store._record

    def spy(self: Store, place: int, line: bytes) -> Any:
        read.append(place)
        return whole(self, place, line)

    monkeypatch.setattr(Store, "_record", spy)
    store = Store(folder)
    assert "49" in store
    assert (store.count(ExampleRecord), store.count(ScoreRecord)) == (50, 1)
    assert not read
    assert store.get(ExampleRecord, "7") == example("7")
    assert store.last(ExampleRecord) == example("49")
    assert len(read) == 2
    assert next(store.each(ExampleRecord)) == example("0")
    assert len(read) == 3


# --- which records count ----------------------------------------------------------------------


def test_records_of_earlier_settings_are_kept_but_do_not_count(folder: Path) -> None:
    store = Store(folder)
    store.add(run_record("run1", {}, ("old",)))
    store.add(scored("old"))
    store.add(run_record("run2", {}, ("new",)))
    store.add(scored("new"))
    read = Store(folder)
    assert [score.key for score in read.current(ScoreRecord)] == ["new"]
    assert [score.key for score in read.of(ScoreRecord)] == ["old", "new"]


def test_the_suite_of_the_last_run_is_the_folders(folder: Path, make_suite) -> None:
    with pytest.raises(AdakdError, match="no run here"):
        Store(folder).suite()
    store, suite = Store(folder), make_suite({"training.steps": 9})
    store.add(run_record("run1", make_suite().model_dump(mode="json")))
    store.add(run_record("run2", suite.model_dump(mode="json")))
    assert Store(folder).suite() == suite


def test_records_that_another_tool_has_rewritten_are_the_same(folder: Path) -> None:
    """With spaces in the JSON: of verdicts too, which are told by their line."""
    store, cell = Store(folder), scored().cell
    verdict = VerdictRecord(
        key="verdict", judge="rule", against="plain", candidate=cell, opponent=cell, task="puzzles",
        item="1", sampling_seed=None, candidate_first=True, words="words", verdict="tie", reason="",
        seconds=0.0,
    )  # fmt: skip
    store.add(example("one"), verdict, scored())
    before = [*store.written()]
    lines = map(json.loads, store.file.read_text().splitlines())
    store.file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    read = Store(folder)
    assert [*read.written()] == before
    assert read.of(VerdictRecord) == [verdict]


# --- compressed records -----------------------------------------------------------------------


def compressed(folder: Path) -> Path:
    """Leave only the compressed records of a run folder, and return their file."""
    plain = folder / "results.jsonl"
    file = folder / "results.jsonl.gz"
    file.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    return file


def test_compressed_records_are_read(folder: Path) -> None:
    store = Store(folder)
    assert not store.exists
    store.add(example("one"), scored())
    compressed(folder)
    read = Store(folder)
    assert read.exists
    assert read.of(ExampleRecord) == store.of(ExampleRecord)
    assert read.of(ScoreRecord) == store.of(ScoreRecord)


def test_a_run_with_compressed_records_is_not_continued(folder: Path) -> None:
    Store(folder).add(example("one"))
    file = compressed(folder)
    before = file.read_bytes()
    with pytest.raises(AdakdError, match=r"results\.jsonl\.gz: .*gunzip"):
        Store(folder).add(example("two"))
    assert [entry.name for entry in folder.iterdir()] == [file.name]
    assert file.read_bytes() == before


# --- the lock ---------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from adakd.store.store import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_share_a_folder(folder: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AdakdError, match="another adakd process works here"):
            locked(folder)
        holder.kill()  # a crash releases it
    with locked(folder):
        pass


def test_the_lock_is_released(folder: Path) -> None:
    with locked(folder), pytest.raises(AdakdError, match="another adakd process"):
        locked(folder)
    with locked(folder):
        pass


# --- damaged, and of another version ----------------------------------------------------------


def damaged(folder: Path, line: bytes) -> None:
    """Put a line between two records."""
    Store(folder).add(example("one"), example("two"))
    first, second = (folder / "results.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "results.jsonl").write_bytes(first + line + b"\n" + second)


@pytest.mark.parametrize("line", [b"", b"   ", b"\t"])
def test_blank_lines_are_passed_over(folder: Path, line: bytes) -> None:
    damaged(folder, line)
    store = Store(folder)
    assert {"one", "two"} == {record.key for record in store.of(ExampleRecord)}
    store.add(example("three"))
    assert len(Store(folder).of(ExampleRecord)) == 3


@pytest.mark.parametrize(
    ("line", "cost"),
    [
        (b"garbage", "what it recorded"),
        (b"\x00" * 40, "what it recorded"),
        (b"\xff\xfe", "what it recorded"),
        (b"5", "what it recorded"),
        (b"[" * 5000, "what it recorded"),
        (b'{"kind":"score","key":"x"}', "the score that it recorded"),
        (b'{"kind":"training","schema_version":1,"key":"x"}', "the training that it recorded"),
        (b'{"schema_version":1,"key":"x"}', "what it recorded"),
    ],
    ids=str,
)
def test_a_bad_line_is_named_with_what_deleting_it_costs(
    folder: Path, line: bytes, cost: str
) -> None:
    damaged(folder, line)
    with pytest.raises(AdakdError, match=r"results\.jsonl, line 2: not a record") as caught:
        Store(folder).of(TrainingRecord)  # a field that is wrong is told when it is read
    assert str(caught.value).endswith(f"delete this line: only {cost} is done again")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", [b"", b',"new_field":1'])
def test_a_newer_record_is_refused(folder: Path, field: bytes) -> None:
    line = example("new").model_dump_json().encode()
    line = line.replace(b'"schema_version":%d' % SCHEMA, b'"schema_version":99')
    damaged(folder, line.removesuffix(b"}") + field + b"}")
    message = rf"line 2: a record of a newer adakd \(schema 99; this one reads up to {SCHEMA}\)"
    with pytest.raises(AdakdError, match=message):
        Store(folder)


def test_a_suite_of_another_version_is_named(folder: Path) -> None:
    Store(folder).add(run_record("run", {"a_field_of_tomorrow": 1}))
    with pytest.raises(AdakdError, match=r"suite of this run is of another version .*use that"):
        Store(folder).suite()


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_is_no_run(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "results.jsonl").write_bytes(content)
    assert not Store(folder).exists
    with pytest.raises(AdakdError, match="no run here"):
        Store(folder).suite()


def test_a_compressed_file_that_is_cut_short_is_named(folder: Path) -> None:
    folder.mkdir(parents=True)
    whole = gzip.compress(example("one").model_dump_json().encode() + b"\n")
    (folder / "results.jsonl.gz").write_bytes(whole[:-9])
    with pytest.raises(AdakdError, match=r"results\.jsonl\.gz: .*copy the file again"):
        Store(folder)
