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

LONG = "one two three four five six seven eight nine ten eleven twelve"
LENGTHS = ("0_2", "3_5", "6_10", "11_")
SETS = ("dolly", "self-inst", "Vicuna", "sinst", "uinst")


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def item(number: int, output: Any = LONG) -> dict[str, Any]:
    prompt = f"Task {number}."
    return {"instruction": prompt, "input": "", "prompt": f"## {prompt}", "output": output}


def with_card(folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: cc-by-sa-3.0\n---\n# A set\n")
    (folder / ".gitattributes").write_text("*.jsonl filter=lfs\n")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a folder for each hub set that a shipped suite names."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    root = tmp_path / "hub"
    dolly = [
        {"instruction": f"Task {n}.", "context": "", "response": LONG, "category": "open_qa"}
        for n in range(40)
    ]
    write(root / "databricks/databricks-dolly-15k/databricks-dolly-15k.jsonl", dolly)
    for place, name in enumerate(SETS):
        folder = root / "MiniLLM" / name
        rows = [item(100 * place + n) for n in range(10)]
        if name in ("sinst", "uinst"):
            rows = [{**row, "output": [row["output"], "another"]} for row in rows]
            for length in LENGTHS:
                write(folder / length / "valid.jsonl", rows)
                (folder / length / "valid.txt").write_text(f"{LONG}\n" * len(rows))
        else:
            write(folder / "valid.jsonl", rows)
            (folder / "valid.txt").write_text(f"{LONG}\n" * len(rows))
    write(root / "MiniLLM/dolly/raw.jsonl", [item(n) for n in range(25)])
    for folder in (root / "databricks/databricks-dolly-15k", *(root / "MiniLLM").iterdir()):
        with_card(folder)
    return root


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
    found = training_rows(suite)
    assert found.by_set["dolly"] == 10  # as databricks-dolly-15k holds the test set of the papers
    assert len(found.rows) == 40 - len(found.overlapping)
    for source in suite.evaluation.sets.values():
        rows = read_rows(source, suite)
        assert len({row.id for row in rows}) == len(rows) >= 10


def test_a_file_of_a_hub_set_can_be_named(hub: Path, make_suite) -> None:
    source = Hub(kind="hub", id=str(hub / "MiniLLM/dolly"), files=("raw.jsonl",))
    assert len(read_rows(source, make_suite())) == 25
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
    write(tmp_path / "set/train.jsonl", [{**item(n), "id": name} for n, name in enumerate(ids)])
    source = Hub(
        kind="hub", id=str(tmp_path / "set"), columns=Columns(id="id"), local="train.jsonl"
    )
    rows = read_rows(source, make_suite())
    assert len({row.id for row in rows}) == len(ids)
    assert rows == read_rows(source, make_suite())
    assert rows == read_rows(source, make_suite({"data.folder": str(tmp_path / "set")}))
