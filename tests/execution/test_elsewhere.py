"""Students that another program trained: loaded, checked, scored and shown beside ours."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM

import adakd
from adakd.config import Elsewhere, Suite
from adakd.errors import AdakdError
from adakd.execution.checks import check_models
from adakd.models.loading import train_tokenizer
from adakd.planning import plan
from adakd.reporting.report import Report
from adakd.store import Store
from adakd.store.records import ScoreRecord, TrainingRecord
from adakd.training.context import RunContext


def models_of(run: Path, role: str) -> list[Path]:
    records = Store(run).of(TrainingRecord)
    return [run / "cells" / one.key / "model" for one in records if one.cell.role == role]


@pytest.fixture
def trl(finished_run: Path, tmp_path: Path) -> Path:
    """The SFT student of a run as TRL leaves it: with its arguments, texts and checkpoints."""
    folder = tmp_path / "trl"
    shutil.copytree(models_of(finished_run, "sft")[0], folder)
    shutil.copytree(folder, folder / "checkpoint-2")
    for name in ("training_args.bin", "README.md", "checkpoint-2/optimizer.pt"):
        (folder / name).write_bytes(b"beside the model")
    return folder


@pytest.fixture
def adapters(trl: Path, tmp_path: Path) -> Path:
    """LoRA adapters on that student, saved without its tokenizer."""
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(trl),
        LoraConfig(r=2, task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"]),
    )
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.3)
    model.save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


def with_students(run: Path, *students: Mapping[str, Any]) -> Suite:
    entries = tuple(Elsewhere.model_validate(one) for one in students)
    return Store(run).suite().model_copy(update={"students": entries})


# --- a run ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beside(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with three trainings of elsewhere beside it."""
    folder = tmp_path_factory.mktemp("beside")
    run = Path(shutil.copytree(finished_run, folder / "run"))
    sft, ours = models_of(run, "sft")[0], models_of(run, "distilled")[0]
    suite = with_students(
        run,
        {"name": "TRL", "model": str(sft), "seed": 7, "note": "SFTTrainer"},
        {"name": "TRL", "model": str(ours), "seed": 9},
        {"name": "a third", "model": str(ours)},
    )
    adakd.run(suite, run)
    return run


def test_a_copy_of_our_student_has_our_scores(beside: Path) -> None:
    scores = Store(beside).current(ScoreRecord)

    def values(method: str, seed: int) -> dict[str, Any]:
        return {
            f"{one.task} {one.metric}": one.items
            for one in scores
            if (one.cell.method, one.cell.seed) == (method, seed)
        }

    assert values("TRL", 7) == values("sft", 1) != {}
    assert values("TRL", 9) == values("reverse_kl", 1) == values("a third", 1)


def test_the_answer_is_that_of_our_students_alone(beside: Path, finished_run: Path) -> None:
    ours, both = (Report.of(Store(run)).figures for run in (finished_run, beside))
    assert both["answer"] == ours["answer"]
    index = Report.of(Store(beside)).context.index
    assert index.seeds == (1,)
    assert {method.role for pair in index.pairs() for method in pair} == {"distilled"}


def test_they_are_on_the_page_marked_as_not_paired(beside: Path) -> None:
    report = Report.of(Store(beside))
    page, shown = report.page, report.figures["scores"]["elsewhere"]
    assert "not paired" in page
    assert "SFTTrainer" in page
    assert [one["method"] for one in shown["trained"]] == ["TRL", "a third"]
    rows = {(row["method"], row["other"]): row["difference"] for row in shown["rows"]}
    assert rows["a third", "reverse_kl"]["estimate"] == 0
    assert rows["TRL", "reverse_kl"]["trainings"] == [2, 1]
    assert {other for _, other in rows} == {"sft", "reverse_kl", "reverse_kl + adakd"}
    table = dict(report.figures["scores"]["sets"]["rows"])
    assert table["TRL"][0]["seeds"] == 2
    assert table["TRL"][0]["std"] is not None


def test_they_are_exported_and_judged(beside: Path, tmp_path: Path, command_line) -> None:
    done = command_line("export", beside, "--format", "csv")
    assert {",TRL,elsewhere,TRL,plain,0.0,7,", ",TRL,elsewhere,TRL,plain,0.0,9,"} == {
        part
        for part in (",TRL,elsewhere,TRL,plain,0.0,7,", ",TRL,elsewhere,TRL,plain,0.0,9,")
        if part in done.out
    }
    run = shutil.copytree(beside, tmp_path / "run")
    done = command_line("judge", run, "--judge", "rule", "--against", "sft")
    assert (done.code, done.err) == (0, "")
    assert "TRL against sft" in " ".join(done.out.split())


# --- adapters and keys ------------------------------------------------------------------------


def test_adapters_are_merged_into_their_base(
    finished_run: Path, trl: Path, adapters: Path, tmp_path: Path
) -> None:
    suite = with_students(finished_run, {"name": "LoRA", "model": str(adapters)})
    planned = plan(suite)
    context = RunContext(planned, tmp_path / "run")
    check_models(planned, context)
    assignment = next(one for one in planned.assignments if one.cell.role == "elsewhere")
    assert assignment.training is None
    loaded, base = context.load(assignment), AutoModelForCausalLM.from_pretrained(trl)
    changed = {
        name
        for (name, weight), other in zip(loaded.named_parameters(), base.parameters(), strict=True)
        if not torch.equal(weight, other)
    }
    assert changed
    assert all("q_proj" in name or "v_proj" in name for name in changed)


def test_keys_follow_the_content_of_the_model(finished_run: Path, trl: Path) -> None:
    def key(**entry: Any) -> str:
        suite = with_students(finished_run, {"name": "x", "model": str(trl), **entry})
        return next(cell.key for cell in plan(suite).cells if cell.role == "elsewhere")

    first = key()
    assert key(note="other words") == key(name="y") == first
    moved = trl.rename(trl.with_name("moved"))
    assert key(model=str(moved)) == first
    (moved / "training_args.bin").write_bytes(b"changed")
    (moved / "README.md").write_text("changed")
    assert key(model=str(moved)) == first
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    assert key(model=str(moved)) != first


def test_no_key_of_ours_depends_on_them(finished_run: Path, trl: Path) -> None:
    suite = with_students(finished_run, {"name": "x", "model": str(trl)})
    ours = {cell.key for cell in plan(Store(finished_run).suite()).cells}
    added = [cell for cell in plan(suite).cells if cell.key not in ours]
    assert [cell.role for cell in added] == ["elsewhere"]


# --- what is refused before any training --------------------------------------------------------


def keep_checkpoints_alone(folder: Path) -> None:
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "global_step2").mkdir()


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])


def change_tokenizer(folder: Path) -> None:
    train_tokenizer(["other words of another language"], 300).save_pretrained(folder)


def change_end(folder: Path) -> None:
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "eos_token": "<pad>"}))


def drop_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def drop_base(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "./nowhere/at/all"})
    )
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (keep_checkpoints_alone, "name one of its checkpoints: checkpoint-2"),
        (drop_weights, "a sharded checkpoint of DeepSpeed or FSDP must be converted"),
        (cut_weights, "copy the model again"),
        (change_tokenizer, "different tokenizers"),
        (change_end, "its end token is '<pad>', and the teacher's '<end>'"),
        (drop_tokenizer, "okenizer"),
        (drop_base, "nowhere"),
    ],
)
def test_a_model_that_cannot_be_scored_is_one_line_before_any_training(
    broken: Callable[[Path], None], said: str, finished_run: Path, trl: Path, tmp_path: Path
) -> None:
    broken(trl)
    planned = plan(with_students(finished_run, {"name": "x", "model": str(trl)}))
    with pytest.raises(AdakdError) as refused:
        check_models(planned, RunContext(planned, tmp_path / "run"))
    message = str(refused.value)
    assert message.startswith("students.0 (x): ")
    assert said in message
    assert "\n" not in message


def test_adapters_that_cannot_be_merged_are_one_line(
    finished_run: Path, trl: Path, tmp_path: Path
) -> None:
    settings = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(AutoModelForCausalLM.from_pretrained(trl), settings).save_pretrained(
        tmp_path / "prompts"
    )
    planned = plan(with_students(finished_run, {"name": "x", "model": str(tmp_path / "prompts")}))
    context = RunContext(planned, tmp_path / "run")
    with pytest.raises(AdakdError, match=r"students\.0 \(x\): .*PROMPT_TUNING cannot be merged"):
        check_models(planned, context)


@pytest.mark.parametrize(
    ("base", "cut", "said"), [("./nowhere", False, "nowhere"), (None, True, "copy the model")]
)
def test_adapters_that_cannot_be_read_are_one_line(
    base: str | None, cut: bool, said: str, finished_run: Path, adapters: Path, trl: Path, tmp_path
) -> None:
    for file in trl.glob("tokenizer*"):
        shutil.copy(file, adapters)
    if base is not None:
        settings = json.loads((adapters / "adapter_config.json").read_text())
        content = json.dumps({**settings, "base_model_name_or_path": base})
        (adapters / "adapter_config.json").write_text(content)
    if cut:
        weights = adapters / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:50])
    planned = plan(with_students(finished_run, {"name": "x", "model": str(adapters)}))
    with pytest.raises(AdakdError, match=rf"^students\.0 \(x\): .*{said}"):
        check_models(planned, RunContext(planned, tmp_path / "run"))


def test_too_few_positions_are_told(finished_run: Path, trl: Path, tmp_path: Path) -> None:
    file = trl / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "max_position_embeddings": 32}))
    planned = plan(with_students(finished_run, {"name": "x", "model": str(trl)}))
    with pytest.raises(AdakdError, match="the student 'x' has 32 positions"):
        RunContext(planned, tmp_path / "run").check_lengths()


@pytest.mark.parametrize(
    ("students", "said"),
    [
        ([{"name": "x", "model": "m"}] * 2, "give each training of one method a seed"),
        ([{"name": "teacher", "model": "m"}], "'teacher' is reserved"),
        ([{"name": "reverse_kl", "model": "m"}], "two methods would be called 'reverse_kl'"),
        ([{"name": "x"}], "students.0.model: missing"),
        ([{"name": "x", "model": "./none"}], "no such folder"),
        ([{"name": "x", "model": "m", "sed": 2}], "did you mean 'seed'"),
    ],
    ids=str,
)
def test_a_wrong_entry_is_one_line(
    students: list[dict[str, Any]], said: str, suite_file, tmp_path: Path, command_line
) -> None:
    file = suite_file({"students": students})
    done = command_line("run", file, "--out", tmp_path / "run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err


def test_doctor_tells_that_a_student_is_on_the_hub(make_suite: Callable[..., Suite]) -> None:
    from adakd.commands.doctor import _of_hub

    suite = make_suite({"students": [{"name": "x", "model": "ada/no-such-model"}]})
    assert "ada/no-such-model" in set(_of_hub(suite))
