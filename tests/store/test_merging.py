"""Runs made on several machines and united: what is kept, what is refused, and what goes on."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import adakd
from adakd.config.loading import load_suite
from adakd.errors import AdakdError
from adakd.planning import plan
from adakd.store import Store
from adakd.store.merging import merge
from adakd.store.records import RunRecord, ScoreRecord, TimingRecord, TrainingRecord
from adakd.store.unit_files import unit_store
from tests.store.made_runs import made_run, share

FIRST, SECOND = {"processor": "a first machine"}, {"processor": "a second machine"}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def values_of(store: Store) -> dict[tuple[str, str], Any]:
    """All but the starts, by kind and key."""
    return {
        (record.kind, record.key): record
        for record in store.written()
        if not isinstance(record, RunRecord)
    }


@pytest.fixture
def halves(tmp_path: Path, make_suite: Callable[..., Any]) -> tuple[Path, Path]:
    """The two seeds of a suite, each made on a machine of its own."""
    for name, seed, hardware in (("a", 1, FIRST), ("b", 2, SECOND)):
        made_run(tmp_path / name, make_suite({"seeds": [seed]}), hardware=hardware)
    return tmp_path / "a", tmp_path / "b"


# --- what a merged run is -------------------------------------------------------------------


def test_merged_halves_are_the_whole(halves, tmp_path: Path, make_suite) -> None:
    before = [bytes_of(half) for half in halves]
    done = merge(halves, tmp_path / "c")
    whole = made_run(tmp_path / "whole", make_suite({"seeds": [1, 2]}))
    merged = Store(tmp_path / "c")
    assert values_of(merged) == values_of(whole)
    assert set(merged.of(RunRecord)[-1].wanted) >= {cell.key for cell in plan(merged.suite()).cells}
    assert merged.suite() == whole.suite()
    assert [bytes_of(half) for half in halves] == before
    for cell in whole.of(RunRecord)[-1].cells:
        model = Path("cells", cell.key, "model", "model.safetensors")
        assert (tmp_path / "c" / model).exists() == (tmp_path / "whole" / model).exists()
    assert (done.linked, done.copied, done.absent) == (7, 0, [])


def test_a_second_merging_changes_nothing(halves, tmp_path: Path) -> None:
    merge(halves, tmp_path / "c")
    before = bytes_of(tmp_path / "c")
    done = merge(halves, tmp_path / "c")
    assert (done.added, done.linked, done.copied) == (0, 0, 0)
    assert bytes_of(tmp_path / "c") == before


def test_the_order_of_the_runs_changes_no_value(halves, tmp_path: Path) -> None:
    merge(halves, tmp_path / "c")
    merge(halves[::-1], tmp_path / "d")
    assert values_of(Store(tmp_path / "c")) == values_of(Store(tmp_path / "d"))


def test_a_third_run_joins_later(halves, tmp_path: Path, make_suite) -> None:
    merge(halves, tmp_path / "c")
    made_run(tmp_path / "third", make_suite({"seeds": [3]}))
    merge([tmp_path / "c", tmp_path / "third"], tmp_path / "d")
    assert Store(tmp_path / "d").suite().seeds == (1, 2, 3)
    assert values_of(Store(tmp_path / "c")).items() <= values_of(Store(tmp_path / "d")).items()


def test_records_that_no_owner_has_taken_in_are_merged_too(halves, tmp_path: Path) -> None:
    first, second = halves
    last = tmp_path / "last"
    shutil.copytree(first / "cells", last / "cells")
    records = [*Store(first).written()]
    Store(last).add(*records[:-9])
    for number, record in enumerate(records[-9:]):
        unit_store(last, f"unit{number % 2}").add(record)
    before = bytes_of(last)
    merge([first, second], tmp_path / "whole")
    done = merge([last, second], tmp_path / "both")
    assert values_of(Store(tmp_path / "both")) == values_of(Store(tmp_path / "whole"))
    assert not done.absent
    assert bytes_of(last) == before


def test_the_page_names_both_machines(halves, tmp_path: Path) -> None:
    merge(halves, tmp_path / "c")
    page = adakd.write_report(tmp_path / "c").read_text()
    assert "a first machine and a second machine" in page
    assert "None: every model of the suite was trained" in page


def test_models_are_copied_where_no_link_can_be(halves, tmp_path: Path, monkeypatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr("os.link", refused)
    done = merge(halves, tmp_path / "c")
    assert (done.linked, done.copied) == (0, 7)
    cell = Store(halves[0]).of(TrainingRecord)[-1].cell
    model = Path("cells", cell.key, "model", "model.safetensors")
    assert (tmp_path / "c" / model).read_bytes() == (halves[0] / model).read_bytes()


def test_a_deleted_model_is_told(halves, tmp_path: Path) -> None:
    shutil.rmtree(halves[1] / "cells")
    done = merge(halves, tmp_path / "c")
    assert len(done.absent) == 3  # sft and both arms at the second seed
    assert "3 not there" in str(done)


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        ({"divergences": ["forward_kl"]}, {"divergences": ["reverse_kl"]}, 2 * 2 + 3),
        ({"arms": {"adakd": "adakd"}}, {"arms": {"egad": "egad"}}, 3 + 3),
        (
            {"divergences": [{"divergence": "forward_kl", "arms": ["adakd"]}]},
            {"divergences": [{"divergence": "forward_kl", "arms": []}]},
            2 + 3,
        ),
        ({"controls.sft": False}, {"controls.sft": True}, 2 + 3),
        ({"timing.pairs": 0}, {"timing.pairs": 1}, 2 + 3),
        ({"training.save_every": 1}, {"description": "other words"}, 2 + 3),
        ({}, {"evaluation.sets.more": {"kind": "generated", "split": "test", "rows": 3}}, 2 + 3),
        ({}, {"evaluation.metrics": ["rouge_l", "token_f1"]}, 2 + 3),
        ({}, {"evaluation.sampling": {"max_new_tokens": 8, "do_sample": False, "seeds": [7]}}, 5),
        ({}, {"judges": []}, 2 + 3),
    ],
    ids=str,
)
def test_what_is_compared_may_differ(ours, theirs, both, tmp_path: Path, make_suite) -> None:
    runs = []
    for name, changes in (("a", ours), ("b", theirs)):
        made_run(tmp_path / name, make_suite(changes))
        runs.append(tmp_path / name)
    merge(runs, tmp_path / "c")
    merged = Store(tmp_path / "c")
    united = plan(load_suite(str(tmp_path / "c" / "suite.yaml")))
    assert united == plan(merged.suite())
    assert len(merged.of(TrainingRecord)) == both
    assert {one.key for one in merged.of(TrainingRecord)} == {c.key for c in united.cells}
    assert {cell.key for run in runs for cell in Store(run).of(RunRecord)[-1].cells} == {
        cell.key for cell in merged.of(RunRecord)[-1].cells
    }


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"training.steps": 5}, "training.steps"),
        ({"data.train": {"kind": "generated", "rows": 41}}, "data.train.rows"),
        ({"student.config.hidden_size": 32}, "student.config.hidden_size"),
        ({"evaluation.sets.puzzles.rows": 7}, "evaluation.sets.puzzles.rows"),
        ({"evaluation.sampling.max_new_tokens": 9}, "evaluation.sampling.max_new_tokens"),
        ({"teacher.sft.learning_rate": 0.02}, "teacher.sft.learning_rate"),
        ({"arms": {"adakd": {"name": "adakd", "focus": "fixed"}}}, "arms.adakd.focus"),
        ({"version": 2}, "version"),
        ({"timing.warmup": 3}, "timing.warmup"),
    ],
    ids=str,
)
def test_other_suites_are_refused(changes, field, tmp_path: Path, make_suite) -> None:
    made_run(tmp_path / "a", make_suite())
    made_run(tmp_path / "b", make_suite(changes))
    with pytest.raises(AdakdError, match=f"different suites: {re.escape(field)} is .* in .*a and"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert not (tmp_path / "c" / "results.jsonl").exists()


def test_files_of_other_content_are_refused(tmp_path: Path, make_suite) -> None:
    source = {"kind": "jsonl", "path": str(tmp_path / "rows.jsonl")}
    row = '{"id": "%s", "instruction": "Say %s", "output": "the word"}\n'
    for name in "ab":
        (tmp_path / "rows.jsonl").write_text("".join(row % (n, name * n) for n in range(1, 40)))
        made_run(tmp_path / name, make_suite({"data.train": source}))
    with pytest.raises(AdakdError, match=r"teacher has another key in .*b than in .*a: a file"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")


def test_two_values_of_one_key_are_an_error_that_names_both_machines(
    halves, tmp_path: Path, make_suite
) -> None:
    suite = make_suite({"seeds": [2]})
    shutil.rmtree(halves[1])
    made_run(halves[1], suite, lambda cell, item: share(cell, item) / 2, SECOND)
    with pytest.raises(AdakdError) as refused:
        merge(halves, tmp_path / "c")
    said = str(refused.value)
    assert "the score of teacher on puzzles" in said
    assert f"{halves[0]} (a first machine" in said
    assert f"{halves[1]} (a second machine" in said
    assert "in value, items." in said
    assert "\n" not in said
    assert not (tmp_path / "c" / "results.jsonl").exists()


def test_weights_of_another_machine_are_another_value(tmp_path: Path, make_suite) -> None:
    made_run(tmp_path / "a", make_suite())
    made_run(tmp_path / "b", make_suite(), files={"model.safetensors": "other"})
    with pytest.raises(AdakdError, match=r"training of teacher .* in files\.model\.safetensors"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")


def test_times_are_no_value(tmp_path: Path, make_suite) -> None:
    made_run(tmp_path / "a", make_suite())
    made_run(tmp_path / "b", make_suite(), seconds=9.0)
    for name, tokens in (("a", 3), ("b", 4)):
        timing = TimingRecord(
            key="t", divergence="reverse_kl", arm="adakd", device="cpu", tokens=tokens, pairs=()
        )
        Store(tmp_path / name).add(timing)
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    merged = Store(tmp_path / "c")
    assert {one.seconds for one in merged.of(TrainingRecord)} == {1.0}
    assert [one.tokens for one in merged.of(TimingRecord)] == [3]


def test_a_run_is_not_merged_into_itself(halves) -> None:
    with pytest.raises(AdakdError, match="choose another folder"):
        merge(halves, halves[0])
    with pytest.raises(AdakdError, match="two runs or more"):
        merge([halves[0], halves[0]], halves[1])


def test_a_folder_without_a_run_is_one_line(halves, tmp_path: Path, command_line) -> None:
    done = command_line("merge", halves[0], tmp_path / "nothing", "--out", tmp_path / "c")
    assert done.code == 2
    assert "no run here" in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "c").exists()


# --- a real one -----------------------------------------------------------------------------


def test_a_merged_run_goes_on(finished_run: Path, tmp_path: Path, command_line) -> None:
    """The other machine started from a copy, so that the teacher was trained once."""
    a, b, c = finished_run, tmp_path / "b", tmp_path / "c"
    shutil.copytree(a, b)
    suite = Store(a).suite()
    adakd.run(suite.model_copy(update={"seeds": (2,)}), b)
    done = command_line("merge", a, b, "--out", c)
    assert (done.code, done.err) == (0, "")
    known = values_of(Store(c))
    again = command_line("run", c / "suite.yaml", "--out", c)
    assert "all is trained and scored" in again.out
    assert {name: values_of(Store(c))[name] for name in known} == known
    assert {one.cell.seed for one in Store(c).current(ScoreRecord)} == {1, 2}
