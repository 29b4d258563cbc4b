"""What enters a key, by itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adakd.config import Pretrained, Training
from adakd.config.loading import load_suite
from adakd.errors import AdakdError
from adakd.planning import Plan, plan
from adakd.planning.keys import deciding, model_digest


def test_checkpoints_and_loggers_enter_no_key() -> None:
    unlike = Training(steps=1, save_every=7, report_to=("tensorboard",))
    assert deciding(unlike) == deciding(Training(steps=1))
    assert deciding(Training(steps=1, kernels="triton")) != deciding(Training(steps=1))


def test_triton_kernels_give_their_trainings_keys_of_their_own() -> None:
    default, torch, triton = (
        {(cell.role, cell.divergence, cell.arm, cell.seed): cell.key for cell in plan(suite).cells}
        for suite in (
            load_suite("smoke"),
            load_suite("smoke", ["training.kernels=torch"]),
            load_suite("smoke", ["training.kernels=triton"]),
        )
    )
    changed = {cell[0] for cell, key in torch.items() if triton[cell] != key}
    same = {cell[0] for cell, key in torch.items() if triton[cell] == key}
    assert changed >= {"distilled"}
    assert same == {"teacher", "untrained"}
    assert {cell[0] for cell, key in torch.items() if default[cell] == key} == same


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.kernels=cuda", "'auto', 'torch' or 'triton'"),
        ("teacher.sft.kernels=triton", "remove it"),
    ],
)
def test_kernels_that_nothing_has_are_an_error(override: str, message: str) -> None:
    with pytest.raises(AdakdError, match=message):
        load_suite("smoke-teacher", [override])


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


# --- the teacher's ------------------------------------------------------------------------------


def by_role(suite: Any) -> dict[str, set[str]]:
    roles: dict[str, set[str]] = {}
    for cell in plan(suite).cells:
        roles.setdefault(cell.role, set()).add(cell.key)
    return roles


@pytest.mark.parametrize("seeds", [[2], [2, 1], [1, 2, 3]])
def test_seeds_decide_neither_the_teacher_nor_each_other(make_suite, seeds: list[int]) -> None:
    one, other = by_role(make_suite({"seeds": [1, 2]})), by_role(make_suite({"seeds": seeds}))
    assert (one["teacher"], one["untrained"]) == (other["teacher"], other["untrained"])
    shared = len({1, 2} & set(seeds))
    assert len(one["sft"] & other["sft"]) == shared
    assert len(one["distilled"] & other["distilled"]) == 2 * shared


@pytest.mark.parametrize(
    "changes", [{"teacher.seed": 2}, {"teacher.sft.steps": 5}, {"teacher.sft.learning_rate": 0.1}]
)
@pytest.mark.parametrize("is_pruned", [False, True])
def test_the_key_of_a_student_holds_that_of_its_teacher(
    make_suite, changes: dict[str, Any], is_pruned: bool
) -> None:
    """A student by SFT has none, unless it is a part of the teacher."""
    common = {"student": {"kind": "pruned", "drop_layers": [0]}} if is_pruned else {}
    before, after = (by_role(make_suite({**common, **more})) for more in ({}, changes))
    assert not before["teacher"] & after["teacher"]
    assert not before["distilled"] & after["distilled"]
    assert (before["sft"] == after["sft"]) is not is_pruned
    has_seed = "teacher.seed" in changes
    assert (before["untrained"] == after["untrained"]) is not (is_pruned or has_seed)


def test_seeds_in_any_order_share_one_measurement_of_overhead(make_suite) -> None:
    found = [set(plan(make_suite({"seeds": seeds})).keys) for seeds in ([2], [2, 1], [1, 2])]
    assert found[1] == found[2]
    assert len(found[0] - found[2]) == 1  # the record of the teacher's states, of a whole plan


METRIC_FILE = """
from adakd import metric

@metric("words", title="words", scale=1)
def words(prediction, references):
    return float(len(prediction.split()))
"""
DIVERGENCE_FILE = """
from adakd import divergence

@divergence("mine")
def mine(student, teacher):
    return (teacher.exp() * (teacher - student)).sum(-1)
"""


@pytest.mark.parametrize(
    ("content", "trains", "measures"),
    [(METRIC_FILE, False, True), (DIVERGENCE_FILE, True, False), ("HELP = 1\n", True, True)],
    ids=["metric", "divergence", "helper"],
)
def test_a_plugin_file_decides_what_it_registers_parts_of(
    make_suite, tmp_path: Path, content: str, trains: bool, measures: bool
) -> None:
    file = tmp_path / "plugin.py"
    file.write_text(content)
    metrics = {"evaluation.metrics": ["rouge_l", "exact_match"]}
    before = plan(make_suite(metrics))
    after = plan(make_suite({**metrics, "plugins": ["./plugin.py"]}))

    def students(planned: Plan) -> list[str]:
        return [cell.key for cell in planned.cells if cell.role == "distilled"]

    def scores(planned: Plan) -> list[str]:
        return [
            job.key
            for job in planned.jobs
            if job.metric == "exact_match" and not job.cell.divergence
        ]

    assert (students(before) != students(after)) is trains
    assert (scores(before) != scores(after)) is measures


def test_a_bridge_enters_the_keys_of_what_it_decides(make_suite) -> None:
    """The teacher is that of a suite without it; untrained and SFT students have own tokens."""
    without, overlap, gold, alike = (
        {cell.method: cell.key for cell in plan(make_suite(changes)).cells}
        for changes in (
            {},
            {"bridge": "overlap"},
            {"bridge": "gold"},
            {"bridge": {"name": "gold", "merge": "observed"}},
        )
    )
    assert {name for name in without if without[name] == overlap[name]} == {"teacher"}
    of_students = {"teacher", "untrained", "sft"}
    assert {name for name in gold if gold[name] == overlap[name]} == of_students
    assert gold == alike


def test_a_row_without_a_bridge_beside_bridged_ones_is_refused(make_suite) -> None:
    rows = ["forward_kl", {"divergence": "reverse_kl", "bridge": "gold"}]
    with pytest.raises(AdakdError, match=r"divergences\.0: forward_kl has no bridge, and other"):
        make_suite({"divergences": rows})
    crossed = make_suite({"divergences": rows, "bridge": "overlap"})
    assert [str(crossed.bridge_of(row)) for row in crossed.divergences] == ["overlap", "gold"]


def test_a_cross_entropy_enters_the_keys_of_distilled_students(make_suite) -> None:
    without, none, some = (
        {cell.method: cell.key for cell in plan(make_suite(changes)).cells}
        for changes in ({}, {"objective.cross_entropy": 0}, {"objective.cross_entropy": 0.1})
    )
    assert without == none
    assert {name for name in without if without[name] == some[name]} == {
        "teacher", "untrained", "sft",
    }  # fmt: skip


def test_an_unknown_bridge_is_named_with_the_nearest(make_suite) -> None:
    with pytest.raises(AdakdError, match="bridge: unknown bridge 'overlp'; did you mean 'overlap'"):
        plan(make_suite({"bridge": "overlp"}))
    rows = [{"divergence": "reverse_kl", "bridge": "golds"}]
    with pytest.raises(AdakdError, match=r"divergences\.0\.bridge: unknown bridge 'golds'"):
        plan(make_suite({"divergences": rows}))
