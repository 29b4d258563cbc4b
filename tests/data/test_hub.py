"""Hub sets, stood in for by folders that are laid out as their repositories."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from adakd.config import Columns, Hub, Suite
from adakd.config.loading import load_suite
from adakd.config.resources import shipped
from adakd.data import read_rows
from adakd.data.overlap import training_rows
from adakd.errors import AdakdError


def on(hub: Path, suite: Suite) -> Suite:
    """Return a suite whose hub sets are folders of `hub`."""

    def placed(source: Any) -> Any:
        return source.model_copy(update={"id": f"{hub / source.id}"})

    sets = {name: placed(source) for name, source in suite.evaluation.sets.items()}
    return suite.model_copy(
        update={
            "data": suite.data.model_copy(update={"train": placed(suite.data.train)}),
            "evaluation": suite.evaluation.model_copy(update={"sets": sets}),
        }
    )


FROM_THE_HUB = [name for name in shipped("suites") if load_suite(name).data.train.kind == "hub"]


@pytest.mark.parametrize("name", FROM_THE_HUB)
def test_all_shipped_suites_load_from_the_hub(hub: Path, name: str) -> None:
    suite = on(hub, load_suite(name))
    found, of_the_papers = training_rows(suite), name.startswith("paper/")
    # databricks-dolly-15k holds the test set of the papers; what they train on does not
    assert found.by_set.get("dolly", 0) == (0 if of_the_papers else 10)
    assert len(found.rows) == (100 if of_the_papers else 40) - len(found.overlapping)
    if of_the_papers:
        assert found.rows[0].instruction == "Raw task 1000."
    for source in suite.evaluation.sets.values():
        rows = read_rows(source, suite)
        assert len({row.id for row in rows}) == len(rows) >= 10


def test_a_file_of_a_hub_set_can_be_named(hub: Path, make_suite) -> None:
    source = Hub(kind="hub", id=str(hub / "MiniLLM/dolly"), files=("raw.jsonl",))
    assert len(read_rows(source, make_suite())) == 1100
    part = source.model_copy(update={"split": "train[1000:]"})
    assert read_rows(part, make_suite())[0].instruction == "Raw task 1000."
    (all_lengths, longest) = (
        Hub(kind="hub", id=str(hub / "MiniLLM/uinst"), split="validation", files=files,
            columns=Columns(outputs="output"))
        for files in ((), ("11_/*.jsonl",))
    )  # fmt: skip
    assert len(read_rows(all_lengths, make_suite())) == 40
    assert len(read_rows(longest, make_suite())) == 10


def test_the_wrong_split_or_file_is_one_line(hub: Path, make_suite) -> None:
    wrong = Hub(kind="hub", id=str(hub / "MiniLLM/dolly"))
    with pytest.raises(AdakdError, match=r"\(train\): .*validation"):
        read_rows(wrong, make_suite())
    with pytest.raises(AdakdError, match="rawer"):
        read_rows(wrong.model_copy(update={"files": ("rawer.jsonl",)}), make_suite())


@pytest.mark.parametrize("ids", [["same"] * 4, ["a", "b", "a", "a [1]"], ["x", None, "2", "x"]])
def test_ids_that_repeat_are_made_unique_the_same_way_each_time(
    tmp_path: Path, make_suite, monkeypatch: pytest.MonkeyPatch, ids: list[str]
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [
        {"id": name, "instruction": f"Task {n}.", "input": "", "output": "Done."}
        for n, name in enumerate(ids)
    ]
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Hub(
        kind="hub", id=str(tmp_path / "set"), columns=Columns(id="id"), local="train.jsonl"
    )
    rows = read_rows(source, make_suite())
    assert len({row.id for row in rows}) == len(ids)
    assert rows == read_rows(source, make_suite())
    assert rows == read_rows(source, make_suite({"data.folder": str(tmp_path / "set")}))
