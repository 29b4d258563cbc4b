"""What is kept of the teacher: each sequence read once, nothing lost, nothing taken for another."""

import gc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from adakd.config import Suite
from adakd.data.example import IGNORED
from adakd.errors import AdakdError
from adakd.losses.objective import next_token_labels
from adakd.models import forward
from adakd.models.forward import response_logits
from adakd.models.loading import place
from adakd.store import disk
from adakd.training import states_file
from adakd.training.batches import Collator
from adakd.training.states_file import StatesFile

SMALL = {"teacher.sft.steps": 2, "training.save_every": 10}


@pytest.fixture
def run(make_suite, trainings) -> Callable[..., Any]:
    """Open trainings; the same name means the same folder."""

    def make(name: str = "run", **changes: Any) -> Any:
        return trainings(make_suite({**SMALL, **changes}), name)

    return make


def batches(run: Any, size: int) -> Iterator[dict[str, Tensor]]:
    collate, examples = Collator(run.context.tokenizer.pad_token_id), run.context.encoded.examples
    for start in range(0, len(examples), size):
        yield collate(examples[start : start + size])


def counted(batch: dict[str, Tensor]) -> Tensor:
    return next_token_labels(batch["labels"]) != IGNORED


ALL_ROWS = {"training.steps": 10}
"""40 rows at 4 a step: one epoch."""


def outputs(run: Any) -> Any:
    return run.teacher.outputs(run.assignment(run.find()))


def logits(run: Any, batch: dict[str, Tensor]) -> Tensor:
    said = outputs(run)(batch, counted(batch))
    assert not isinstance(said, Tensor)
    weight = said.head.weight
    return said.head.logits(said.states.to(weight.device, weight.dtype))


def live_logits(run: Any, batch: dict[str, Tensor]) -> Tensor:
    model = place(run.load(run.plan.teacher.cell)).eval()
    on_device = {name: value.to(model.device) for name, value in batch.items()}
    with torch.no_grad():
        return response_logits(model, on_device, counted(on_device))


# --- what it says -----------------------------------------------------------------------------


def test_float32_states_rebuild_the_logits_bit_for_bit(run) -> None:
    made = run(**ALL_ROWS, **{"teacher.cache": "float32"})
    for part in (cache := made.teacher.stored).parts:
        batch = Collator(made.context.tokenizer.pad_token_id)(part.examples)
        assert torch.equal(logits(made, batch), live_logits(made, batch))
    assert {e.number for part in cache.parts for e in part.examples} == set(range(40))


@pytest.mark.parametrize("size", [1, 3, 40])
def test_any_batch_finds_the_states_of_its_labels(run, size: int) -> None:
    made = run(**ALL_ROWS, **{"teacher.cache": "float32"})
    for batch in batches(made, size):
        torch.testing.assert_close(logits(made, batch), live_logits(made, batch))


@pytest.mark.parametrize(("mode", "kl"), [("fp16", 2e-6), ("bf16", 1e-3)])
def test_sixteen_bits_say_the_same_at_two_bytes_a_number(run, mode: str, kl: float) -> None:
    made = run(**ALL_ROWS, **{"teacher.cache": mode})
    labels = 0
    for batch in batches(made, 8):
        ours, theirs = (f(made, batch).log_softmax(-1) for f in (logits, live_logits))
        assert float((theirs.exp() * (theirs - ours)).sum(-1).mean()) <= kl
        labels += len(ours)
    width = made.teacher.stored.head.weight.shape[-1]
    on_disk = sum(file.stat().st_size for file in made.teacher.stored.folder.glob("*.bin"))
    assert on_disk == made.teacher.stored.bytes == 2 * width * labels


def test_fifty_steps_end_where_whole_logits_of_a_live_teacher_lead(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(name: str, cache: str) -> list[Any]:
        made = run(name, **{"teacher.cache": cache, "training.steps": 50})
        cells = made.find(arm="plain"), made.find(arm="adakd")
        return [(made.train(cell).steps[-1], made.load(cell).state_dict()) for cell in cells]

    fast = train("fast", "float32")
    monkeypatch.setattr(forward, "head_of", lambda *_: "since this is the slow path")
    slow = train("slow", "off")
    for (last, weights), (slow_last, slow_weights) in zip(fast, slow, strict=True):
        assert last.loss == pytest.approx(slow_last.loss, rel=1e-3)
        for name, weight in weights.items():
            torch.testing.assert_close(weight, slow_weights[name], rtol=1e-3, atol=2e-4)


# --- how often the teacher reads --------------------------------------------------------------


@pytest.fixture
def read_by_teacher(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, ...]]:
    """Every sequence that a model of the teacher's width reads; the probe of one word aside."""
    seen: Counter[tuple[int, ...]] = Counter()
    real = LlamaForCausalLM.forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        ids, mask = kwargs["input_ids"], kwargs["attention_mask"].bool()
        if self.config.hidden_size == 32 and ids.shape[1] > 1:
            seen.update(tuple(row[kept].tolist()) for row, kept in zip(ids, mask, strict=True))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    return seen


GRID = {
    "seeds": [1, 2],
    "divergences": ["forward_kl", "reverse_kl"],
    "training.steps": 15,
    "timing.warmup": 1,
}
"""8 students, each over one epoch and a half."""


def test_the_whole_grid_takes_one_reading_of_each_sequence(run, read_by_teacher) -> None:
    made = run(**GRID)
    read_by_teacher.clear()  # its own training
    for cell in made.distilled():
        made.train(cell)
    sequences = [tuple(example.input_ids) for example in made.context.encoded.examples]
    assert read_by_teacher == Counter(sequences)
    assert made.teacher.record(0.0).readings == 8 * 15 * 4


def test_a_short_training_has_only_the_batches_of_its_own_sequences_read(
    run, read_by_teacher
) -> None:
    made = run(**{"seeds": [1, 2], "training.steps": 1, "training.batch_size": 2})
    read_by_teacher.clear()
    for cell in made.distilled():
        made.train(cell)
    assert set(read_by_teacher.values()) == {1}
    known = made.data.known_sequences()
    assert {tuple(row.input_ids) for row in known} <= set(read_by_teacher)
    assert len(known) <= len(read_by_teacher) <= 2 * len(known) < 40


REWRITTEN = {"divergence": "reverse_kl", "policy": "sequence_level", "label": "seqkd"}


@pytest.mark.parametrize(
    "others",
    [
        {"seeds": [2, 1]},
        {"seeds": [1, 3], "divergences": ["forward_kl", "reverse_kl", REWRITTEN]},
        {"divergences": [{**REWRITTEN, "label": "drawn",
                          "policy": {"name": "sequence_level", "temperature": 0.5}},
                         "reverse_kl", REWRITTEN]},
        {"timing.pairs": 9},
        {"controls.longer": 0.5},
    ],
    ids=str,
)  # fmt: skip
def test_states_do_not_depend_on_what_else_a_plan_holds(run, others: dict[str, Any]) -> None:
    """Bit for bit: the padding of a batch would change their rounding."""

    def states(made: Any) -> dict[tuple[int, ...], bytes]:
        made.teacher.fill()
        stored = made.teacher.stored
        return {
            (*row.input_ids, *row.labels): bytes(
                stored._states[stored._labels[row.number]].contiguous().view(torch.uint8).numpy()
            )
            for row in stored.examples
        }

    common = {"teacher.cache": "float32", "training.steps": 2, "timing.pairs": 0}
    alone, among = states(run("alone", **common)), states(run("among", **{**common, **others}))
    assert len(alone) < len(among) or "timing.pairs" in others
    assert alone.items() <= among.items()


def test_no_teacher_stays_in_memory_beside_its_stored_states(run) -> None:
    """Its LM head alone does, as what the states need."""
    made = run()
    models = weakref.WeakSet[Any]()
    load = made.context.load

    def spy(assignment: Any) -> Any:
        models.add(model := load(assignment))
        return model

    made.context.load = spy
    made.train(made.find())
    assert isinstance(made.teacher.stored, StatesFile)
    gc.collect()
    assert not [model for model in models if model.config.hidden_size == 32]


def test_stored_states_are_opened_without_the_teacher(run, monkeypatch) -> None:
    first = run(**ALL_ROWS)
    first.teacher.fill()
    batch = next(batches(first, 4))
    expected = logits(first, batch)
    later = run(**ALL_ROWS)
    monkeypatch.setattr(later.context, "load", lambda _: pytest.fail("a model was loaded"))
    assert torch.equal(logits(later, batch), expected)


@pytest.mark.parametrize("harm", ["a bit", "cut", "gone"])
def test_a_damaged_head_is_taken_from_the_teacher_again(run, harm: str) -> None:
    first = run(**ALL_ROWS)
    first.teacher.fill()
    (file,) = (first.context.folder / "teacher" / "heads").iterdir()
    content = file.read_bytes()
    if harm == "a bit":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == "cut":
        file.write_bytes(content[:-4])
    else:
        file.unlink()
    later = run(**ALL_ROWS)
    assert torch.equal(later.teacher.stored.head.weight, first.teacher.stored.head.weight)
    assert not later.teacher.stored.missing
    assert file.read_bytes() == content


# --- after a crash ----------------------------------------------------------------------------


class Killed(Exception):
    pass


def test_filling_goes_on_where_it_stopped(run, read_by_teacher) -> None:
    whole = run("whole", **ALL_ROWS)
    whole.teacher.fill()

    def stop(done: int) -> None:
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        run(**ALL_ROWS).teacher.fill(stop)
    later = run(**ALL_ROWS)
    assert len(later.teacher.stored.missing) == 6
    read_by_teacher.clear()
    later.teacher.fill()
    assert read_by_teacher.total() == 24
    files = [made.teacher.stored.folder / "states.bin" for made in (whole, later)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not run(**ALL_ROWS).teacher.stored.missing


@pytest.mark.parametrize("harm", ["a bit", "cut", "half a line", "gone"])
def test_what_is_damaged_is_read_again(run, harm: str) -> None:
    made = run(**ALL_ROWS)
    made.teacher.fill()
    states, lines = (made.teacher.stored.folder / name for name in ("states.bin", "parts.txt"))
    right, noted = states.read_bytes(), lines.read_text()
    if harm == "a bit":
        at = made.teacher.stored.parts[3].labels.start * made.teacher.stored.width * 2
        states.write_bytes(right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :])
    elif harm == "cut":
        states.write_bytes(right[:-2])
    elif harm == "half a line":
        lines.write_text(noted[:-3])
    else:
        states.unlink()
    later = run(**ALL_ROWS)
    missing = [part.number for part in later.teacher.stored.missing]
    assert missing == {"a bit": [3], "half a line": [9]}.get(harm, list(range(10)))
    later.teacher.fill()
    assert states.read_bytes() == right
    assert not run(**ALL_ROWS).teacher.stored.missing


def test_what_decides_the_states_decides_their_place(run) -> None:
    folders = [
        run(name, **{**ALL_ROWS, **changes}).teacher.stored.folder.name
        for name, changes in {
            "same": {},
            "again": {},
            "mode": {"teacher.cache": "float32"},
            "weights": {"teacher.sft.steps": 3},
            "lengths": {"data.max_tokens": 24},
            "data": {"data.train.rows": 39},
        }.items()
    ]
    assert folders[0] == folders[1]
    assert len(set(folders)) == len(folders) - 1


# --- where it cannot be had -------------------------------------------------------------------


def test_states_that_do_not_fit_are_an_error_that_names_the_fix(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = run(), states_file.response

    def huge(*args: Any) -> Any:
        said = real(*args)
        said.states.mul_(1e6)
        return said

    monkeypatch.setattr(states_file, "response", huge)
    with pytest.raises(AdakdError, match=r"teacher\.cache: .*which overflows float16: set teacher"):
        made.teacher.fill()


def test_no_room_is_an_error_with_its_size(run, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = run("room").teacher.stored
    size = stored.bytes + stored.head.weight.nbytes
    made = run()
    monkeypatch.setattr(disk, "RESERVE", 1 << 60)
    with pytest.raises(AdakdError, match=f"take {size:,} bytes.*set teacher.cache: off"):
        made.teacher.fill()


@pytest.mark.parametrize(
    "base",
    [
        {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2},
        {"model_type": "opt", "hidden_size": 32, "word_embed_proj_dim": 16, "ffn_dim": 32,
         "num_hidden_layers": 1, "num_attention_heads": 2},
        {"model_type": "llama", "hidden_size": 16, "intermediate_size": 32,
         "num_hidden_layers": 1, "num_attention_heads": 2},
    ],
    ids=lambda config: config["model_type"],
)  # fmt: skip
def test_the_size_is_known_before_the_teacher_is_trained(run, base: dict[str, Any]) -> None:
    made = run(**{"teacher.base.config": base, "training.steps": 3, "teacher.sft.steps": 1})
    width = made.teacher._expected_width()
    assert 2 * width * made.data.expected_labels() == made.teacher.stored.bytes


def test_room_is_not_asked_for_what_is_there(run, monkeypatch: pytest.MonkeyPatch) -> None:
    run().teacher.fill()
    monkeypatch.setattr(disk, "RESERVE", 1 << 60)
    assert isinstance(run().teacher.stored, StatesFile)


def test_a_head_that_is_no_plain_matrix_means_a_live_teacher(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adakd.training.teacher_states.head_of", lambda *_: "since it is odd")
    assert run().teacher.stored == "its LM head cannot be separated, since it is odd"


def test_the_mode_is_part_of_what_decides_a_student(make_suite, trainings) -> None:
    def keys(suite: Suite) -> dict[str, str]:
        return {str(cell): cell.key for cell in trainings(suite).plan.cells}

    one, other = keys(make_suite()), keys(make_suite({"teacher.cache": "off"}))
    changed = {cell for cell, key in one.items() if other[cell] != key}
    assert changed == {cell for cell in one if cell.startswith("reverse_kl")}


def test_it_is_not_written_through_a_reading(run) -> None:
    made = run(**ALL_ROWS)
    made.teacher.fill()
    before = (made.teacher.stored.folder / "states.bin").read_bytes()
    batch = next(batches(made, 4))
    outputs(made)(batch, counted(batch)).states.zero_()
    assert (made.teacher.stored.folder / "states.bin").read_bytes() == before
