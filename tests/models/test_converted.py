"""Base models that are converted once a machine: the same bits, whole entries, one conversion."""

import copy
import json
import logging
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from gguf.quants import quantize

import adakd
from adakd.config import Pretrained, Pruned, Scratch
from adakd.config.hashing import user_cache
from adakd.errors import AdakdError
from adakd.models import converted, loading

HIDDEN, HEADS, LAYERS = 32, 2, 2
CONFIG = {
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "max_position_embeddings": 96,
    "tie_word_embeddings": True,
}
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def write_gguf(file: Path, tokenizer: Any, seed: int = 0) -> None:
    """Write a tiny Llama with 8-bit weights, as llama.cpp would."""
    model = loading.scratch_model(Scratch(kind="scratch", config=CONFIG), tokenizer, seed)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(96)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokenizer))
    rules = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    ids = sorted(tokenizer.get_vocab().items(), key=lambda one: one[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([token for token, _ in ids])
    writer.add_token_types(
        [3 if token.startswith("<") and len(token) > 1 else 1 for token, _ in ids]
    )
    writer.add_token_merges([" ".join(pair) for pair in rules["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    for name, weight in model.state_dict().items():
        values, kind = weight.numpy(), gguf.GGMLQuantizationType.Q8_0
        if name.startswith("model.layers."):
            _, _, layer, part = name.removesuffix(".weight").split(".", 3)
            target = f"blk.{layer}.{NAMES[part]}.weight"
        elif name == "lm_head.weight":
            continue
        else:
            target = {"model.embed_tokens.weight": "token_embd.weight",
                      "model.norm.weight": "output_norm.weight"}[name]  # fmt: skip
        if values.ndim == 1:
            writer.add_tensor(target, values)
        else:
            writer.add_tensor(target, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def base(tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Pretrained:
    """A GGUF file in a folder, and a cache folder of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "_declined", set())
    (tmp_path / "source").mkdir()
    write_gguf(tmp_path / "source" / "tiny.gguf", tokenizer)
    return Pretrained(kind="pretrained", model=str(tmp_path / "source"), gguf_file="tiny.gguf")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that are read."""
    names: list[str] = []
    real = loading._from_source

    def spy(where: str, options: Any) -> Any:
        names.append(where)
        return real(where, options)

    monkeypatch.setattr(loading, "_from_source", spy)
    return names


def from_source(base: Pretrained) -> tuple[Any, Any]:
    return loading._from_source(base.model, {"gguf_file": base.gguf_file} if base.gguf_file else {})


def entries() -> list[Path]:
    return sorted(path for path in user_cache("models").glob("*") if path.is_dir())


def assert_same(model: Any, other: Any) -> None:
    ours, theirs = model.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert dict(model.named_buffers()).keys() == dict(other.named_buffers()).keys()
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), other.buffers(), strict=True))


def adapters(folder: Path, tokenizer: Any) -> Pretrained:
    model = loading.scratch_model(Scratch(kind="scratch", config=CONFIG), tokenizer, 0)
    model.save_pretrained(folder / "below")
    model.name_or_path = str(folder / "below")
    student = loading.with_adapters(model, adakd.config.Lora(r=2, alpha=4, dropout=0), seed=3)
    for name, weight in student.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    student.save_pretrained(folder / "adapters")
    tokenizer.save_pretrained(folder / "adapters")
    return Pretrained(kind="pretrained", model=str(folder / "adapters"))


@pytest.mark.parametrize("sort", ["gguf", "adapters"])
def test_a_converted_model_is_the_source_bit_for_bit(
    base: Pretrained, reads: list[str], tokenizer: Any, tmp_path: Path, sort: str
) -> None:
    base = base if sort == "gguf" else adapters(tmp_path, tokenizer)
    model, rules = from_source(base)
    reads.clear()
    for _ in range(2):
        assert_same(loading.load_model(base), model)
        again = loading.load_tokenizer(base)
        assert again.backend_tokenizer.to_str() == rules.backend_tokenizer.to_str()
        assert again.eos_token_id == rules.eos_token_id
        assert loading.context_length(base) == 96
    assert reads == [base.model]  # once, whatever is asked for
    assert all(weight.requires_grad for weight in loading.load_model(base).parameters())
    pruned = Pruned(kind="pruned", drop_layers=(0,))
    assert_same(loading.prune(loading.load_model(base), pruned), loading.prune(model, pruned))


def test_training_leaves_the_entry_as_it_is(base: Pretrained) -> None:
    before, model = copy.deepcopy(loading.load_model(base)), loading.load_model(base)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)
    assert_same(loading.load_model(base), before)


def test_other_content_is_another_entry_and_another_place_is_not(
    base: Pretrained, reads: list[str], tokenizer: Any, tmp_path: Path
) -> None:
    first = loading.load_model(base)
    moved = Path(shutil.copytree(base.model, tmp_path / "moved"))
    elsewhere = Pretrained(kind="pretrained", model=str(moved), gguf_file="tiny.gguf")
    assert_same(loading.load_model(elsewhere), first)
    assert len(reads) == 1
    write_gguf(moved / "tiny.gguf", tokenizer, seed=1)
    assert not torch.equal(
        next(loading.load_model(elsewhere).parameters()), next(first.parameters())
    )
    assert len(reads) == len(entries()) == 2


@pytest.mark.parametrize(
    ("name", "how"),
    [("model.safetensors", "flipped"), ("model.safetensors", "cut"), ("config.json", "gone"),
     ("tokenizer.json", "cut")],
)  # fmt: skip
def test_a_damaged_entry_is_made_again(
    base: Pretrained, reads: list[str], caplog: pytest.LogCaptureFixture, name: str, how: str
) -> None:
    before = copy.deepcopy(loading.load_model(base))  # not mapped
    (entry,) = entries()
    file = entry / name
    content = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        odd = (
            content[:-3] if how == "cut" else content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
        )
        file.write_bytes(odd)
    caplog.clear()
    assert_same(loading.load_model(base), before)
    (line,) = [one.message for one in caplog.records if "dropped" in one.message]
    assert str(entry) in line
    assert len(reads) == 2
    assert file.read_bytes() == content
    loading.load_model(base)
    assert len(reads) == 2


@pytest.mark.parametrize("why", ["no room", "no folder"])
def test_without_a_place_the_source_is_read(
    base: Pretrained, monkeypatch: pytest.MonkeyPatch, caplog, tmp_path: Path, why: str
) -> None:
    if why == "no room":
        monkeypatch.setattr(converted, "RESERVE", 1 << 60)
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    model, _ = from_source(base)
    assert_same(loading.load_model(base), model)
    loading.load_tokenizer(base)
    lines = [one.message for one in caplog.records if "is not kept" in one.message]
    assert len(lines) == 1  # once a process
    assert not entries()


def test_a_conversion_that_fails_leaves_nothing(
    base: Pretrained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(converted, "sync_tree", full)
    loading.load_model(base)
    assert [one.message for one in caplog.records if "No space left" in one.message]
    assert [path.suffix for path in user_cache("models").iterdir()] == [".lock"]


def test_a_draft_of_a_killed_process_is_no_entry(base: Pretrained) -> None:
    loading.load_model(base)
    (entry,) = entries()
    entry.rename(entry.with_name(f".{entry.name}"))
    assert loading.load_tokenizer(base)
    assert entries() == [entry]


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_a_source_that_cannot_be_read_is_named(base: Pretrained, kind: str) -> None:
    file = Path(base.model, "tiny.gguf")
    file.unlink() if kind == "missing" else file.write_bytes(b"")
    with pytest.raises(AdakdError, match="source"):
        loading.load_model(base)
    assert not entries()


def test_a_folder_of_safetensors_is_read_in_place(
    base: Pretrained, reads: list[str], tokenizer: Any, tmp_path: Path
) -> None:
    model = loading.scratch_model(Scratch(kind="scratch", config=CONFIG), tokenizer, 0)
    loading.save(model, tokenizer, tmp_path / "plain")
    loading.load_model(Pretrained(kind="pretrained", model=str(tmp_path / "plain")))
    assert not reads
    assert not entries()


def _load(base: Pretrained, start: Any, digests: Any) -> None:
    logging.disable()
    real = loading._from_source

    def counted(where: str, options: Any) -> Any:
        digests.put("read")
        return real(where, options)

    loading._from_source = counted
    start.wait()
    digests.put(loading.weights_digest(loading.load_model(base)))


def test_two_processes_convert_once(base: Pretrained) -> None:
    model, _ = from_source(base)
    context = multiprocessing.get_context("fork")
    start, digests = context.Barrier(2), context.Queue()
    both = [context.Process(target=_load, args=(base, start, digests)) for _ in range(2)]
    for one in both:
        one.start()
    said = sorted(digests.get(timeout=60) for _ in range(3))
    for one in both:
        one.join()
    assert said == sorted(["read", *[loading.weights_digest(model)] * 2])
    assert len(entries()) == 1


def test_a_start_with_everything_done_loads_no_model(
    base: Pretrained, make_suite: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {
        "teacher": {"base": base.model_dump()},
        "student": {"kind": "pruned", "drop_layers": [1]},
        "training.steps": 1,
        "timing": {"pairs": 0},
        "evaluation.choices": [],
        "arms": {},
        "controls": {"sft": False},
        "judges": [],
    }
    suite = make_suite(changes)
    adakd.run(suite, tmp_path / "run")

    def refuse(*_: Any) -> None:
        raise AssertionError("a model is looked at")

    for name in ("load_model", "load_tokenizer", "context_length", "location"):
        monkeypatch.setattr(loading, name, refuse)
    adakd.run(suite, tmp_path / "run")
