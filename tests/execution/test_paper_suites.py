"""The paper suites, from data as the hub has it to a report, with tiny models of their families."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from adakd.config import Scratch
from adakd.config.loading import load_suite
from adakd.config.resources import shipped
from adakd.models import loading
from adakd.store import Store
from adakd.store.records import ScoreRecord, TrainingRecord

PAPER = [name for name in shipped("suites") if name.startswith("paper/")]
END = "<|endoftext|>"
LAYERS = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
FAMILIES: dict[str, tuple[dict[str, Any], list[str], dict[str, str]]] = {
    "paper/table1-qwen2": (
        {"model_type": "qwen2", **LAYERS, "num_key_value_heads": 1, "intermediate_size": 32},
        [END, "<|im_start|>", "<|im_end|>"],
        {"eos_token": END, "pad_token": END},
    ),
    "paper/table1-openllama2": (
        {"model_type": "llama", **LAYERS, "intermediate_size": 32},
        ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    ),
    "paper/table1-gpt2": (
        {"model_type": "gpt2", "n_embd": 16, "n_head": 2, "n_layer": 1, "n_positions": 128},
        [END],
        {"bos_token": END, "eos_token": END, "unk_token": END},
    ),
}
"""Configuration, special tokens and their names, as the family's models have them."""
LABELS = ["fkd", "rkd", "abkd", "gkd", "distillm"]
ROWS = [LABELS] * 3 if os.environ.get("ADAKD_PAPER") == "all" else [["gkd"], ["distillm"], ["abkd"]]
"""The rows of table 1 that each family trains; all take minutes."""
Adakd = Callable[..., Any]


def tokenizer(special: list[str], names: dict[str, str]) -> Any:
    """Return a small tokenizer: byte-level, or with pieces and a BOS as SentencePiece's."""
    pieces = "<s>" in special
    inner = Tokenizer(models.BPE(byte_fallback=pieces))
    if pieces:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        inner.decoder = decoders.Sequence([decoders.Metaspace(), decoders.ByteFallback()])
    else:
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
    alphabet = [] if pieces else pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(["Below is an instruction that describes a task. one two"], trainer)
    if pieces:
        opening = [("<s>", inner.token_to_id("<s>"))]
        inner.post_processor = TemplateProcessing(single="<s> $A", special_tokens=opening)
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


def model(folder: Path, suite: str, seed: int) -> Path:
    """Save a random model of a suite's family."""
    config, special, names = FAMILIES[suite]
    reads = tokenizer(special, names)
    base = Scratch.model_validate({"kind": "scratch", "config": config})
    made = loading.scratch_model(base, reads, seed)
    made.save_pretrained(folder)
    reads.save_pretrained(folder)
    return folder


def sources(name: str, hub: Path) -> list[str]:
    """Return the options that put folders of `hub` in the place of a suite's hub sets."""
    suite = load_suite(name)
    found = {"data.train": suite.data.train}
    found |= {f"evaluation.sets.{label}": one for label, one in suite.evaluation.sets.items()}
    changes = [f"{where}.id={hub / source.id}" for where, source in found.items()]
    return [part for change in changes for part in ("--set", change)]


@pytest.mark.parametrize("name", PAPER)
def test_a_plan_with_the_sets_of_the_hub(command_line: Adakd, hub: Path, name: str) -> None:
    done = command_line("plan", name, *sources(name, hub))
    assert (done.code, done.err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "baselines"), [*zip(FAMILIES, ROWS, strict=True)])
def test_two_steps_with_the_sets_of_the_hub(
    command_line: Adakd, hub: Path, tmp_path: Path, name: str, baselines: list[str]
) -> None:
    suite = load_suite(name)
    chosen = [one.model_dump_json() for one in suite.divergences if one.label in baselines]
    changes = {
        "teacher.base.model": model(tmp_path / "teacher", name, 1),
        "student.model": model(tmp_path / "student", name, 2),
        "seeds": "[10]",
        "teacher.sft.batch_size": 2,
        "teacher.sft.gradient_accumulation": 1,
        "training.batch_size": 2,
        "training.gradient_accumulation": 1,
        "data.max_tokens": 128,
        "data.max_prompt_tokens": 112,
        "teacher.sft.epochs": "null",
        "teacher.sft.steps": 2,
        "training.epochs": "null",
        "training.steps": 2,
        "evaluation.tasks": "[]",
        "evaluation.sampling.max_new_tokens": 4,
        "timing.pairs": 0,
        "divergences": f"[{','.join(chosen)}]",
        "paper": "[]",
    }
    changes |= {f"evaluation.sets.{label}.limit": 3 for label in suite.evaluation.sets}
    options = [part for change in changes.items() for part in ("--set", "=".join(map(str, change)))]
    done = command_line("run", name, "--out", tmp_path / "run", *sources(name, hub), *options)
    assert (done.err, done.code) == ("", 0)
    store = Store(tmp_path / "run")
    trained = store.of(TrainingRecord)
    assert {record.status for record in trained} == {"done"}
    distilled = [record for record in trained if record.cell.role == "distilled"]
    assert len({record.cell.method for record in distilled}) == 2 * len(baselines)
    assert {len(record.steps) for record in distilled} == {2}
    scored = {(score.cell.key, score.task) for score in store.of(ScoreRecord)}
    assert len(scored) == len(trained) * 5
