"""What can be known at the start is said at the start: before any training, in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

import adakd
from adakd.config.loading import load_suite
from adakd.errors import AdakdError
from adakd.evaluation.lm_eval_tasks import check_task
from adakd.execution.checks import check_models
from adakd.models import loading
from adakd.planning import plan
from adakd.store import Store
from adakd.store.records import TrainingRecord
from adakd.training.context import RunContext

GPT2 = {
    "model_type": "gpt2",
    "n_embd": 16,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 96,
}
LATE = {
    "layers to drop": (
        {"student": {"kind": "pruned", "drop_layers": [99]}},
        r"student\.drop_layers: \[99\]; the teacher has layers 0 to 1",
    ),
    "LoRA targets": (
        {"training.lora": {"target_modules": ["zzz"]}},
        r"training\.lora\.target_modules: .*zzz",
    ),
    "LoRA targets of another family": (
        {
            "student": {"kind": "scratch", "config": GPT2},
            "training.lora": {"target_modules": ["q_proj"]},
        },
        r"training\.lora\.target_modules: .*q_proj",
    ),
    "LoRA targets of the teacher": (
        {"teacher.sft.lora": {"target_modules": ["zzz"]}},
        r"teacher\.sft\.lora\.target_modules: .*zzz",
    ),
    "layer of the diagnostics": (
        {"diagnostics": {"every": 1, "layer": 99}},
        r"diagnostics\.layer: 99; the student has layers 0 to 0",
    ),
    "layer without a trained parameter": (
        {
            "student": {"kind": "pruned", "drop_layers": [1]},
            "training.lora": {"target_modules": ["lm_head"]},
            "teacher.base.config.tie_word_embeddings": False,
            "diagnostics": {"every": 1, "layer": -1},
        },
        r"diagnostics\.layer: no parameter of layer -1 is trained",
    ),
    "attention that cannot read a paged cache": (
        {
            "student": {
                "kind": "scratch",
                "config": {"model_type": "bloom", "hidden_size": 16, "n_layer": 1, "n_head": 2},
            }
        },
        r"evaluation\.engine: Bloom.* set evaluation\.engine: batches",
    ),
    "logger without its package": (
        {"training.report_to": ["wandb"]},
        r"training\.report_to: 'wandb' cannot be used",
    ),
    "unknown logger of the teacher": (
        {"teacher.sft.report_to": ["wandbb"]},
        r"teacher\.sft\.report_to: 'wandbb' cannot be used",
    ),
    "width of nothing": ({"student.config.hidden_size": 0}, "config of a model from scratch: "),
    "unknown precision": ({"student.config.dtype": "zzz"}, "config of a model from scratch: "),
    "family that there is not": (
        {"student.config.model_type": "zzz"},
        "config of a model from scratch: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LATE)
def test_settings_that_no_model_can_have(make_suite, tmp_path: Path, name: str) -> None:
    changes, message = LATE[name]
    with pytest.raises(AdakdError, match=message) as caught:
        adakd.run(make_suite(changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert Store(tmp_path / "run").of(TrainingRecord) == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"student": {"kind": "pruned", "drop_layers": [0]}, "teacher.sft.lora": {"r": 2}},
        {"training.lora": {"target_modules": ["q_proj"]}, "training.report_to": ["none"]},
        {"diagnostics": {"every": 1, "layer": -1}},
        {"diagnostics": {"every": 0, "layer": 99}},
    ],
    ids=str,
)
def test_settings_that_work_pass(make_suite, tmp_path: Path, changes: Any) -> None:
    planned = plan(make_suite(changes))
    check_models(planned, RunContext(planned, tmp_path))


def test_weights_that_are_cut_short_are_named(make_suite, tmp_path: Path) -> None:
    planned = plan(make_suite())
    context = RunContext(planned, tmp_path)
    folder = tmp_path / "model"
    loading.save(context.initial(planned.teacher.cell), context.tokenizer, folder)
    base = {"kind": "pretrained", "model": str(folder)}
    planned = plan(make_suite({"teacher": {"base": base}, "student": base}))
    context = RunContext(planned, tmp_path)
    check_models(planned, context)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(AdakdError, match=r"model\.safetensors: .*copy the model again"):
        check_models(planned, context)
    with pytest.raises(AdakdError, match=f"model '{folder}'"):
        loading.load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"judges": ["nope"]}, "there is no shipped judge 'nope'"),
        ({"evaluation.include_path": "nope"}, r"evaluation\.include_path: no folder .*nope"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_judges_and_folders_are_looked_up_by_plan_and_run(
    command_line, suite_file, tmp_path: Path, monkeypatch, changes: Any, message: str, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command_line(verb, suite_file(changes))
    assert done.code == 2
    (line,) = done.err.splitlines()
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(line)
    assert not list(tmp_path.glob("runs/*/cells"))


ITEMS = [{"question": "1+1", "answer": "2", "choices": ["1", "2"], "gold": 1}] * 2
MEAN = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
TASKS = {
    "fine": {"output_type": "generate_until", "generation_kwargs": {"max_gen_toks": 8}},
    "long": {"output_type": "generate_until", "generation_kwargs": {"max_gen_toks": 512}},
    "default": {"output_type": "generate_until"},
    "code": {"output_type": "generate_until", "unsafe_code": True},
    "broken": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{nothing.there}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("fine", None),
        ({"name": "fine", "metric": "exact_match"}, None),
        ({"name": "fine", "metric": "exact"}, "has no metric 'exact'; did you mean 'exact_match'"),
        ("long", r"'long': its max_gen_toks \(512\) leaves no room for a prompt in 96 tokens"),
        ("default", r"'default': its max_gen_toks \(256\) leaves no room"),
        ("code", "'code' runs code that the model writes"),
        ("broken", r"'broken' cannot be loaded \(UndefinedError: .*nothing"),
    ],
    ids=str,
)  # fmt: skip
def test_one_request_of_every_task_is_built(
    suite_file, tmp_path: Path, tokenizer: Any, asked: Any, message: str | None
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "items.json").write_text(json.dumps(ITEMS))
    for name, fields in TASKS.items():
        content = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(own / "items.json")}},
            "test_split": "test",
            "doc_to_text": "{{question}}",
            "doc_to_target": "{{answer}}",
            "metric_list": [MEAN],
            **fields,
        }
        if name == "broken":
            del content["metric_list"]
        (own / f"{name}.yaml").write_text(json.dumps(content))
    file = suite_file({"evaluation.include_path": "own", "evaluation.tasks": [asked]})
    suite = load_suite(str(file))
    if message is None:
        check_task(suite.evaluation.tasks[0], suite, tokenizer)
        return
    with pytest.raises(AdakdError, match=message):
        check_task(suite.evaluation.tasks[0], suite, tokenizer)
