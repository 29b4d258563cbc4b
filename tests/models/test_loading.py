"""Where models come from: scratch, folders, layers left out, adapters."""

import copy
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

import adakd
from adakd.config import Lora, Pretrained, Pruned, Scratch
from adakd.errors import AdakdError
from adakd.models import loading
from adakd.models.saved import damage

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
}
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 4, "n_head": 2, "n_positions": 64}
GEMMA2 = {
    **LLAMA,
    "model_type": "gemma2",
    "head_dim": 16,
    "num_key_value_heads": 2,
    "sliding_window": 4,
}
CONFIGS = [LLAMA, GPT2, GEMMA2]


def name_of(config: Any) -> str:
    return str(config["model_type"]) if isinstance(config, dict) else str(config)


def make(config: dict[str, Any], tokenizer: Any, seed: int = 0) -> Any:
    return loading.scratch_model(Scratch(kind="scratch", config=config), tokenizer, seed).eval()


def tokens() -> Tensor:
    return torch.randint(2, 300, (2, 9), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model.eval()(input_ids=tokens()).logits


# --- scratch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_random_weights_are_the_seeds(tokenizer: Any, config: dict[str, Any]) -> None:
    one, same, other = (logits(make(config, tokenizer, seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    assert one.shape[-1] == len(tokenizer)


def test_weights_do_not_depend_on_what_was_drawn_before(tokenizer: Any) -> None:
    one = logits(make(LLAMA, tokenizer))
    torch.rand(1000)
    assert torch.equal(logits(make(LLAMA, tokenizer)), one)


@pytest.mark.parametrize("config", [{"model_type": "lama"}, {}, {**LLAMA, "hidden_size": "big"}])
def test_a_config_that_is_none(tokenizer: Any, config: dict[str, Any]) -> None:
    with pytest.raises(AdakdError, match="config of a model from scratch: "):
        make(config, tokenizer)


def test_a_tokenizer_comes_of_its_texts_alone(tokenizer: Any) -> None:
    texts = ["cat dog", "cat owl", "dog owl pig"]
    one, same = (loading.train_tokenizer(texts, 300) for _ in range(2))
    assert one.get_vocab() == same.get_vocab()
    assert len(tokenizer) <= 400
    for text in ("cat Grüße\n\t ☃", " cat", ""):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


# --- fewer layers -----------------------------------------------------------------------------


def stack(model: Any) -> Any:
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


class Passed(torch.nn.Module):
    """A layer that does nothing."""

    attention_type = "full_attention"

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden


@pytest.mark.parametrize("drop", [(0,), (3,), (1, 2), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_the_right_layers_are_left_out(tokenizer: Any, config, drop: tuple[int, ...]) -> None:
    teacher = make(config, tokenizer)
    manual = copy.deepcopy(teacher)
    for layer in drop:
        stack(manual)[layer] = Passed()
    before = logits(teacher)
    student = loading.prune(teacher, Pruned(kind="pruned", drop_layers=drop))
    assert torch.equal(logits(teacher), before)  # the teacher is as it was
    assert len(stack(student)) == student.config.num_hidden_layers == 4 - len(drop)
    kept = [i for i in range(4) if i not in drop]
    for index, layer in zip(kept, stack(student), strict=True):
        theirs = stack(teacher)[index].state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in layer.state_dict().items())
    with torch.no_grad():
        expected = manual(input_ids=tokens(), use_cache=False).logits
    torch.testing.assert_close(logits(student), expected)
    assert not torch.allclose(expected, before)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_a_pruned_student_can_be_saved_and_generates(tokenizer: Any, config, tmp_path) -> None:
    student = loading.prune(make(config, tokenizer), Pruned(kind="pruned", drop_layers=(1,)))
    loading.save(student, tokenizer, tmp_path / "model")
    again = loading.load_model(tmp_path / "model")
    assert torch.equal(logits(again), logits(student))
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 1}
    cached, plain = (
        again.generate(tokens(), **options, use_cache=cache) for cache in (True, False)
    )
    assert torch.equal(cached, plain)  # the layers know their place in the cache


@pytest.mark.parametrize("drop", [(4,), (-1,), (0, 1, 2, 3)], ids=str)
def test_layers_that_are_not_there(tokenizer: Any, drop: tuple[int, ...]) -> None:
    with pytest.raises(AdakdError, match=r"student\.drop_layers: .*layers 0 to 3"):
        loading.prune(make(LLAMA, tokenizer), Pruned(kind="pruned", drop_layers=drop))


# --- adapters ---------------------------------------------------------------------------------


def trained_adapters(model: Any, **settings: Any) -> Any:
    student = loading.with_adapters(model, Lora(r=2, alpha=4, **settings), seed=3)
    with torch.no_grad():
        for name, weight in student.named_parameters():
            if "lora_B" in name:  # zero at first: as if trained
                weight.copy_(torch.linspace(-0.1, 0.1, weight.numel()).view_as(weight))
    return student


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")
@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=name_of)
def test_adapters_saved_and_merged_give_the_same_logits(
    tokenizer: Any, config: dict[str, Any], tmp_path: Path
) -> None:
    before = logits(make(config, tokenizer))
    student = trained_adapters(make(config, tokenizer), dropout=0)
    expected = logits(student)
    assert not torch.allclose(expected, before)
    loading.save(student, tokenizer, tmp_path / "model")
    merged = loading.load_student(tmp_path / "model", lambda: make(config, tokenizer))
    assert not hasattr(merged, "peft_config")
    torch.testing.assert_close(logits(merged), expected)


def test_adapters_leave_the_model_alone_at_first_and_train_nothing_else(tokenizer: Any) -> None:
    before = logits(make(LLAMA, tokenizer))
    student = loading.with_adapters(make(LLAMA, tokenizer), Lora(r=2, alpha=4), seed=3)
    assert torch.equal(logits(student), before)
    trained = [name for name, weight in student.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)


def test_the_first_weights_of_adapters_are_the_seeds(tokenizer: Any) -> None:
    def first(seed: int) -> Tensor:
        student = loading.with_adapters(make(LLAMA, tokenizer), Lora(r=2), seed)
        return next(w for name, w in student.named_parameters() if "lora_A" in name)

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_adapters_on_modules_that_are_not_there(tokenizer: Any) -> None:
    with pytest.raises(AdakdError, match=r"training\.lora\.target_modules: "):
        loading.with_adapters(make(LLAMA, tokenizer), Lora(target_modules=("nothing",)), seed=1)


# --- saving and loading -----------------------------------------------------------------------


def test_a_save_that_fails_leaves_no_folder(tokenizer: Any, tmp_path: Path) -> None:
    def fill(folder: Path, **_: Any) -> None:
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text("half")
        raise OSError(28, "No space left on device")

    model = make(LLAMA, tokenizer)
    model.save_pretrained = fill
    with pytest.raises(AdakdError, match="No space left on device"):
        loading.save(model, tokenizer, tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["gone", "nobody/nothing", "./gone", "../gone", "/gone/too"])
def test_a_model_that_is_not_there(tmp_path: Path, name: str) -> None:
    base = Pretrained(kind="pretrained", model=name)
    for load in (loading.load_model, loading.load_tokenizer):
        with pytest.raises(AdakdError, match=f"model '{name}': ") as caught:
            load(base)
        assert "\n" not in str(caught.value)


def test_a_tokenizer_always_has_a_padding_token(tokenizer: Any, tmp_path: Path) -> None:
    without = copy.deepcopy(tokenizer)
    without.pad_token = None
    without.save_pretrained(tmp_path)
    assert loading.load_tokenizer(tmp_path).pad_token == tokenizer.eos_token


def test_a_saved_model_is_on_the_disk_and_as_the_umask_has_it(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(loading, "sync_tree", lambda folder: synced.extend(folder.iterdir()))
    before = os.umask(0o027)
    try:
        loading.save(make(LLAMA, tokenizer), tokenizer, tmp_path / "model")
    finally:
        os.umask(before)
    files = list((tmp_path / "model").iterdir())
    assert {file.name for file in synced} == {file.name for file in files}
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o640"}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_damage_of_a_saved_model_is_found(tokenizer: Any, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    loading.save(make(LLAMA, tokenizer), tokenizer, folder)
    assert damage(folder) == ""
    file = folder / name
    file.write_bytes(file.read_bytes()[:-3])
    assert damage(folder)
    assert "\n" not in damage(folder)
    file.write_bytes(b"")
    assert damage(folder)
    shutil.rmtree(folder)
    assert damage(folder) == "there is none"


# --- one tokenizer for both -------------------------------------------------------------------


def test_different_tokenizers_are_refused(tokenizer: Any) -> None:
    loading.check_same_tokenizer(tokenizer, copy.deepcopy(tokenizer))
    other = loading.train_tokenizer(["something else entirely, somewhere else"], len(tokenizer))
    with pytest.raises(AdakdError, match="different tokenizers"):
        loading.check_same_tokenizer(other, tokenizer)


def test_a_student_with_another_tokenizer_does_not_train(
    make_suite, trainings, tokenizer: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "student"
    other = loading.train_tokenizer(["something else entirely"], 300)
    loading.save(make(LLAMA, other), other, folder)
    run = trainings(make_suite({"student": {"kind": "pretrained", "model": str(folder)}}))
    with pytest.raises(AdakdError, match="different tokenizers"):
        run.train(run.find())


def test_a_padded_vocabulary_is_no_difference(make_suite, trainings, tmp_path: Path) -> None:
    """A teacher whose output layer is wider than the tokenizer, as Qwen2's is."""
    first = trainings(make_suite())
    wide = loading.scratch_model(first.suite.teacher.base, first.context.tokenizer, 1)
    wide.resize_token_embeddings(len(first.context.tokenizer) + 24, mean_resizing=False)
    loading.save(wide, first.context.tokenizer, tmp_path / "wide")
    teacher = {"base": {"kind": "pretrained", "model": str(tmp_path / "wide")}}
    run = trainings(make_suite({"teacher": teacher, "training.steps": 2}), "wide-run")
    assert (
        run.teacher.live.model.get_output_embeddings().out_features
        == len(first.context.tokenizer) + 24
    )
    record = run.train(run.find())
    assert (record.status, len(record.steps)) == ("done", 2)


# --- adapters on shared weights, adapters as models -------------------------------------------

TIED = {**LLAMA, "tie_word_embeddings": True}


@pytest.mark.parametrize("module", ["lm_head", "embed_tokens"])
def test_adapters_on_a_tied_vocabulary_are_refused(tokenizer: Any, module: str) -> None:
    lora = Lora(r=2, target_modules=("q_proj", module))
    with pytest.raises(AdakdError, match=r"training\.lora\.target_modules: .*share one weight"):
        loading.with_adapters(make(TIED, tokenizer), lora, seed=1)
    untied = {**LLAMA, "tie_word_embeddings": False}
    assert loading.with_adapters(make(untied, tokenizer), lora, seed=1)


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
@pytest.mark.parametrize("module", ["lm_head", "embed_tokens"])
def test_adapters_on_an_untied_vocabulary_are_scored_as_trained(
    tokenizer: Any, tmp_path: Path, module: str
) -> None:
    untied = {**LLAMA, "tie_word_embeddings": False}
    student = trained_adapters(
        make(untied, tokenizer), dropout=0, target_modules=("q_proj", module)
    )
    expected = logits(student)
    loading.save(student, tokenizer, tmp_path / "model")
    merged = loading.load_student(tmp_path / "model", lambda: make(untied, tokenizer))
    torch.testing.assert_close(logits(merged), expected)


def adapter_folder(config: dict[str, Any], tokenizer: Any, folder: Path, **lora: Any) -> Any:
    """Save a model and adapters on it; return the logits with the adapters."""
    base = make(config, tokenizer)
    base.save_pretrained(folder / "base")
    base.name_or_path = str(folder / "base")
    student = trained_adapters(base, dropout=0, **lora)
    expected = logits(student)
    student.save_pretrained(folder / "adapters")
    tokenizer.save_pretrained(folder / "adapters")
    return expected


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")
@pytest.mark.parametrize("config", [LLAMA, TIED, GPT2], ids=["untied", "tied", "gpt2"])
def test_a_folder_of_adapters_is_a_model_that_trains_whole(
    tokenizer: Any, config: dict[str, Any], tmp_path: Path
) -> None:
    expected = adapter_folder(config, tokenizer, tmp_path)
    base = Pretrained(kind="pretrained", model=str(tmp_path / "adapters"))
    model = loading.load_model(base)
    torch.testing.assert_close(logits(model), expected)
    assert all(weight.requires_grad for weight in model.parameters())
    assert not any("lora" in name for name, _ in model.named_parameters())
    assert loading.context_length(base) == model.config.max_position_embeddings
    pruned = loading.prune(model, Pruned(kind="pruned", drop_layers=(1,)))
    assert all(weight.requires_grad for weight in pruned.parameters())
    loading.save(pruned, tokenizer, tmp_path / "pruned")
    assert torch.equal(logits(loading.load_model(tmp_path / "pruned")), logits(pruned))


def test_adapters_of_a_folder_on_a_tied_vocabulary_are_refused(tokenizer, tmp_path: Path) -> None:
    base = make(TIED, tokenizer)
    base.save_pretrained(tmp_path / "base")
    base.name_or_path = str(tmp_path / "base")
    with pytest.warns(UserWarning, match="tie_word_embeddings"):
        adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["lm_head"]))
    with pytest.warns(UserWarning, match="save_embedding_layers"):
        adapted.save_pretrained(tmp_path / "adapters")
    with pytest.raises(AdakdError, match="share one weight"):
        loading.load_model(tmp_path / "adapters")


@pytest.mark.parametrize("side", ["student", "base of a pruned student"])
def test_adapters_train_as_students(make_suite, trainings, tokenizer, tmp_path, side) -> None:
    adapter_folder({**LLAMA, "max_position_embeddings": 96}, tokenizer, tmp_path)
    adapters = {"kind": "pretrained", "model": str(tmp_path / "adapters")}
    whole = {"kind": "pretrained", "model": str(tmp_path / "base")}
    tokenizer.save_pretrained(tmp_path / "base")
    if side == "student":
        changes = {"teacher": {"base": whole}, "student": adapters}
    else:
        pruned = {"kind": "pruned", "drop_layers": [1]}
        changes = {"teacher": {"base": adapters}, "student": pruned}
    run = trainings(make_suite({**changes, "training.steps": 2}))
    cell = run.find()
    before = dict(run.context.initial(cell).named_parameters())
    record = run.train(cell)
    assert record.trainable == record.parameters
    changed = [k for k, weight in run.weights(cell).items() if not torch.equal(weight, before[k])]
    assert set(changed) == set(before)


# --- widths and lengths -----------------------------------------------------------------------


def test_a_head_that_is_wider_by_padding_on_either_side(make_suite, trainings, tmp_path) -> None:
    """The padding of neither side changes the first loss."""
    first = trainings(make_suite())
    tokenizer, folders = first.context.tokenizer, {}
    for name, seed in (("teacher", 1), ("student", 2)):
        for more in (0, 24, 88):
            model = make({**LLAMA, "max_position_embeddings": 96}, tokenizer, seed)
            if more:
                model.resize_token_embeddings(len(tokenizer) + more, mean_resizing=False)
                with torch.no_grad():  # as after real training: padding is never predicted
                    model.lm_head.weight[len(tokenizer) :] = 0
            folders[name, more] = {"kind": "pretrained", "model": str(tmp_path / f"{name}{more}")}
            loading.save(model, tokenizer, tmp_path / f"{name}{more}")
    losses = {}
    for teacher, student in ((0, 0), (0, 24), (24, 0), (88, 24), (24, 88)):
        changes = {"teacher": {"base": folders["teacher", teacher]}, "training.steps": 1,
                   "student": folders["student", student], "diagnostics.every": 1,
                   "diagnostics.layer": 0}  # fmt: skip
        run = trainings(make_suite(changes), f"{teacher}-{student}")
        losses[teacher, student] = run.train(run.find(arm="adakd")).steps[0].loss
    assert losses[0, 24] == losses[24, 0] == losses[0, 0]
    assert losses[24, 88] == losses[88, 24]


@pytest.mark.parametrize("side", ["teacher", "student"])
@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=name_of)
def test_more_tokens_than_positions_are_told_at_the_start(
    make_suite, tokenizer: Any, tmp_path: Path, side: str, config: dict[str, Any]
) -> None:
    positions = "n_positions" if config is GPT2 else "max_position_embeddings"
    short = make({**config, positions: 64}, tokenizer)
    loading.save(short, tokenizer, tmp_path / "short")
    base = {"kind": "pretrained", "model": str(tmp_path / "short")}
    long = {"kind": "pretrained", "model": str(tmp_path / "long")}
    loading.save(make({**config, positions: 128}, tokenizer), tokenizer, tmp_path / "long")
    teacher, student = (base, long) if side == "teacher" else (long, base)
    suite = make_suite({"teacher": {"base": teacher}, "student": student})
    with pytest.raises(AdakdError, match=rf"data\.max_tokens: 96, but the {side} has 64 positions"):
        adakd.run(suite, tmp_path / "run")
    assert not (tmp_path / "run" / "cells").exists()
