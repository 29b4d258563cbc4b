"""What enters a key, by itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adakd.config import Pretrained, Training
from adakd.config.loading import load_suite
from adakd.errors import AdakdError
from adakd.planning import plan
from adakd.planning.keys import deciding, model_digest


def test_the_default_kernels_enter_no_key() -> None:
    """Or runs stored before the setting existed would be done again."""
    assert "kernels" not in deciding(Training(steps=1))
    assert deciding(Training(steps=1)) == deciding(Training(steps=1, kernels="torch"))
    assert deciding(Training(steps=1, kernels="triton"))["kernels"] == "triton"


def test_triton_kernels_give_their_trainings_keys_of_their_own() -> None:
    default, torch, triton = (
        {(cell.role, cell.divergence, cell.arm, cell.seed): cell.key for cell in plan(suite).cells}
        for suite in (
            load_suite("smoke"),
            load_suite("smoke", ["training.kernels=torch"]),
            load_suite("smoke", ["training.kernels=triton"]),
        )
    )
    assert default == torch
    changed = {cell[0] for cell, key in torch.items() if triton[cell] != key}
    same = {cell[0] for cell, key in torch.items() if triton[cell] == key}
    assert changed >= {"distilled"}
    assert same == {"teacher", "untrained"}


@pytest.mark.parametrize(
    ("override", "message"),
    [("training.kernels=cuda", "'torch' or 'triton'"), ("teacher.sft.kernels=triton", "remove it")],
)
def test_kernels_that_nothing_has_are_an_error(override: str, message: str) -> None:
    with pytest.raises(AdakdError, match=message):
        load_suite("smoke", [override])


# --- files ------------------------------------------------------------------------------------


def identity(folder: Path, **rest: Any) -> Any:
    return model_digest(Pretrained(kind="pretrained", model=str(folder), **rest))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder: embeddings come first in the file, and layers behind its first MiB."""
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(bytes(3 << 20))
    return made


def test_weights_behind_the_first_mebibyte_decide(folder: Path) -> None:
    before = identity(folder)
    with (folder / "model.safetensors").open("rb+") as stream:
        stream.seek(2 << 20)
        stream.write(b"trained again")
    assert identity(folder) != before


@pytest.mark.parametrize(
    "name",
    ["tokenizer.json", "generation_config.json", "chat_template.jinja", "model-2.safetensors",
     "adapter_model.safetensors", "additional_chat_templates/tool.jinja"],
)  # fmt: skip
def test_every_file_that_a_model_is_loaded_from_decides(folder: Path, name: str) -> None:
    before = identity(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("one")
    added = identity(folder)
    (folder / name).write_text("two")
    assert len({str(found) for found in (before, added, identity(folder))}) == 3


@pytest.mark.parametrize(
    "name",
    ["README.md", "optimizer.pt", "rng_state_0.pth", "training_args.bin", ".gitattributes",
     "checkpoint-5/model.safetensors"],
)  # fmt: skip
def test_other_files_in_its_folder_do_not(folder: Path, name: str) -> None:
    before = identity(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("anything")
    assert identity(folder) == before


def test_of_several_gguf_files_the_one_that_is_named_decides(folder: Path) -> None:
    (folder / "sub").mkdir()
    for name in ("a.gguf", "b.gguf", "sub/c.gguf"):
        (folder / name).write_bytes(bytes(2 << 20))
    before = {name: identity(folder, gguf_file=name) for name in ("a.gguf", "sub/c.gguf")}
    (folder / "b.gguf").write_bytes(b"other")
    assert {name: identity(folder, gguf_file=name) for name in before} == before
    for name in before:
        (folder / name).write_bytes(bytes((2 << 20) - 1) + b"1")
        assert identity(folder, gguf_file=name) != before[name]


def test_the_base_of_adapters_decides_as_they_do(folder: Path, tmp_path: Path) -> None:
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    settings = {"base_model_name_or_path": str(folder)}
    (adapters / "adapter_config.json").write_text(json.dumps(settings))
    before = identity(adapters)
    shutil.copytree(adapters, tmp_path / "moved")
    assert identity(tmp_path / "moved") == before
    (folder / "model.safetensors").write_bytes(bytes((3 << 20) - 1) + b"1")
    assert identity(adapters) != before
    own = {"base_model_name_or_path": str(adapters)}
    (adapters / "adapter_config.json").write_text(json.dumps(own))
    assert identity(adapters)  # and ends


def test_the_files_of_a_local_hub_set_decide_and_its_place_does_not(
    make_suite, tmp_path: Path
) -> None:
    def cells(place: str, rows: str) -> set[str]:
        file = tmp_path / place / "data" / "train.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rows)
        source = {"kind": "hub", "id": str(tmp_path / place), "limit": 3}
        return {cell.key for cell in plan(make_suite({"data.train": source})).cells}

    assert cells("here", "one") == cells("there", "one")
    assert not cells("here", "one") & cells("here", "two")


@pytest.mark.parametrize("name", ["items.csv", "deep/items.parquet", "own.yaml"])
def test_every_file_of_an_own_task_decides_its_scores(
    make_suite, tmp_path: Path, name: str
) -> None:
    def jobs(text: str) -> set[str]:
        file = tmp_path / "own" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        made = {"evaluation.tasks": ["mine"], "evaluation.include_path": "own"}
        return {job.key for job in plan(make_suite(made)).jobs if job.task == "mine"}

    assert not jobs("one") & jobs("two")
