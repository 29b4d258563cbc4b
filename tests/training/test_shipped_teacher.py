"""The teacher that ships with smoke: the suite smoke-teacher makes it."""

import json
from statistics import mean
from typing import Any

import pytest
from safetensors import safe_open

from adakd.config.loading import load_suite
from adakd.config.resources import ROOT
from adakd.data import prompt_of
from adakd.data.puzzles import generate
from adakd.metrics import metric
from adakd.models import loading
from adakd.registry import Spec

SHIPPED = ROOT / "suites" / "smoke-teacher"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return loading.load_tokenizer(SHIPPED)


def test_it_is_small_and_the_one_that_smoke_names() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 3_000_000
    base = load_suite("smoke").teacher.base
    assert base.kind == "pretrained"
    assert loading.location(base)[0].endswith("smoke-teacher")


def test_its_suite_makes_the_same_model_and_tokenizer(trainings, tokenizer: Any) -> None:
    """With one step in place of all: the same but for the values of its weights."""
    few = ["teacher.sft.steps=1", "teacher.sft.warmup=0", "evaluation.sets.puzzles.rows=1"]
    made = trainings(load_suite("smoke-teacher", few))
    trained = made.context.tokenizer
    assert trained.get_vocab() == tokenizer.get_vocab()
    text = "Copy the words.\npig cup owl\n\nhere they are: pig cup owl"
    assert trained(text).input_ids == tokenizer(text).input_ids
    folder = made.home(made.plan.teacher.cell)
    for name in ("config.json", "generation_config.json"):
        ours, theirs = (json.loads((one / name).read_text()) for one in (folder, SHIPPED))
        made_by = {"transformers_version": ours["transformers_version"]}
        assert ours == theirs | made_by
    again, shipped = (_shapes(one / "model.safetensors") for one in (folder, SHIPPED))
    assert again == shipped


def test_it_answers_puzzles_that_it_has_not_seen(tokenizer: Any) -> None:
    rows = generate(60, "test")
    model = loading.load_model(SHIPPED).eval()
    loading.use_plain_generation(model, tokenizer)
    prompts = [prompt_of(row[1], row[2], "plain") for row in rows]
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    ids = model.generate(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        max_new_tokens=16,
        do_sample=False,
    )
    answers = tokenizer.batch_decode(ids[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
    rouge_l = metric.build(Spec(name="rouge_l"))
    scores = [rouge_l(answer, row[3]) for answer, row in zip(answers, rows, strict=True)]
    assert mean(scores) > 0.9


def _shapes(file: Any) -> dict[str, Any]:
    with safe_open(file, framework="pt") as weights:
        return {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
