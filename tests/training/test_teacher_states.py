"""What is kept of the teacher: each sequence read once, nothing lost, nothing taken for another."""

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
from adakd.store import disk
from adakd.training import states_file
from adakd.training.batches import Collator
from adakd.training.context import Workshop
from adakd.training.states_file import TeacherCache

SMALL = {"teacher.sft.steps": 2, "training.save_every": 10}


@pytest.fixture
def shop(make_suite, workshop) -> Callable[..., Workshop]:
    """Open a workshop whose teacher is trained; of the same name, the same folder."""

    def make(name: str = "run", **changes: Any) -> Workshop:
        made: Workshop = workshop(make_suite({**SMALL, **changes}), name)
        if not made.home(made.plan.teacher).exists():
            made.train(made.plan.teacher)
        return made

    return make


def batches(shop: Workshop, size: int) -> Iterator[dict[str, Tensor]]:
    collate, examples = Collator(shop.tokenizer.pad_token_id), shop.encoded.examples
    for start in range(0, len(examples), size):
        yield collate(examples[start : start + size])


def counted(batch: dict[str, Tensor]) -> Tensor:
    return next_token_labels(batch["labels"]) != IGNORED


ALL_ROWS = {"training.steps": 10}
"""40 rows at 4 a step: one epoch."""


def logits(shop: Workshop, batch: dict[str, Tensor]) -> Tensor:
    said = shop.teaching(batch, counted(batch))
    assert not isinstance(said, Tensor)
    return said.head.logits(said.states.to(said.head.weight.dtype))


def live_logits(shop: Workshop, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return response_logits(shop.load(shop.plan.teacher).eval(), batch, counted(batch))


# --- what it says -----------------------------------------------------------------------------


def test_float32_states_rebuild_the_logits_bit_for_bit(shop) -> None:
    made = shop(**ALL_ROWS, **{"teacher.cache": "float32"})
    for part in (cache := made.cache).parts:
        batch = Collator(made.tokenizer.pad_token_id)(part.examples)
        assert torch.equal(logits(made, batch), live_logits(made, batch))
    assert {e.number for part in cache.parts for e in part.examples} == set(range(40))


@pytest.mark.parametrize("size", [1, 3, 40])
def test_any_batch_finds_the_states_of_its_labels(shop, size: int) -> None:
    made = shop(**ALL_ROWS, **{"teacher.cache": "float32"})
    for batch in batches(made, size):
        torch.testing.assert_close(logits(made, batch), live_logits(made, batch))


@pytest.mark.parametrize(("mode", "kl"), [("fp16", 2e-6), ("bf16", 1e-3)])
def test_sixteen_bits_say_the_same_at_two_bytes_a_number(shop, mode: str, kl: float) -> None:
    made = shop(**ALL_ROWS, **{"teacher.cache": mode})
    labels = 0
    for batch in batches(made, 8):
        ours, theirs = (f(made, batch).log_softmax(-1) for f in (logits, live_logits))
        assert float((theirs.exp() * (theirs - ours)).sum(-1).mean()) <= kl
        labels += len(ours)
    width = made.cache.head.weight.shape[-1]
    on_disk = sum(file.stat().st_size for file in made.cache.folder.glob("*.bin"))
    assert on_disk == made.cache.bytes == 2 * width * labels


def test_fifty_steps_end_where_whole_logits_of_a_live_teacher_lead(
    shop, of, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(name: str, cache: str) -> list[Any]:
        made = shop(name, **{"teacher.cache": cache, "training.steps": 50})
        cells = of(made, arm="plain"), of(made, arm="adakd")
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


def test_the_whole_grid_takes_one_reading_of_each_sequence(shop, of, read_by_teacher) -> None:
    made = shop(**GRID)
    read_by_teacher.clear()  # its own training
    for cell in made.plan.cells:
        if cell.role == "distilled":
            made.train(cell)
    sequences = [tuple(example.input_ids) for example in made.encoded.examples]
    assert read_by_teacher == Counter(sequences)
    assert made.teaching_record(0.0).readings == 8 * 15 * 4


def test_a_short_training_has_only_its_own_sequences_read(shop, read_by_teacher) -> None:
    made = shop(**{"seeds": [1, 2], "training.steps": 2})
    read_by_teacher.clear()
    for cell in made.plan.cells:
        if cell.role == "distilled":
            made.train(cell)
    assert set(read_by_teacher.values()) == {1}
    assert 8 <= len(read_by_teacher) <= 16  # two seeds may draw the same row


# --- after a crash ----------------------------------------------------------------------------


class Killed(Exception):
    pass


def test_filling_goes_on_where_it_stopped(shop, read_by_teacher) -> None:
    whole = shop("whole", **ALL_ROWS)
    whole.fill_cache()

    def stop(done: int) -> None:
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        shop(**ALL_ROWS).fill_cache(stop)
    later = shop(**ALL_ROWS)
    assert len(later.cache.missing) == 6
    read_by_teacher.clear()
    later.fill_cache()
    assert read_by_teacher.total() == 24
    files = [made.cache.folder / "states.bin" for made in (whole, later)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not shop(**ALL_ROWS).cache.missing


@pytest.mark.parametrize("harm", ["a bit", "cut", "half a line", "gone"])
def test_what_is_damaged_is_read_again(shop, harm: str) -> None:
    made = shop(**ALL_ROWS)
    made.fill_cache()
    states, lines = (made.cache.folder / name for name in ("states.bin", "parts.txt"))
    right, noted = states.read_bytes(), lines.read_text()
    if harm == "a bit":
        at = made.cache.parts[3].labels.start * made.cache.width * 2
        states.write_bytes(right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :])
    elif harm == "cut":
        states.write_bytes(right[:-2])
    elif harm == "half a line":
        lines.write_text(noted[:-3])
    else:
        states.unlink()
    later = shop(**ALL_ROWS)
    missing = [part.number for part in later.cache.missing]
    assert missing == {"a bit": [3], "half a line": [9]}.get(harm, list(range(10)))
    later.fill_cache()
    assert states.read_bytes() == right
    assert not shop(**ALL_ROWS).cache.missing


def test_what_decides_the_states_decides_their_place(shop) -> None:
    folders = [
        shop(name, **{**ALL_ROWS, **changes}).cache.folder.name
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
    shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = shop(), teacher_states.response

    def huge(*args: Any) -> Any:
        said = real(*args)
        said.states.mul_(1e6)
        return said

    monkeypatch.setattr(teacher_states, "response", huge)
    with pytest.raises(AdakdError, match=r"teacher\.cache: .*float16 does not hold: set teacher"):
        made.fill_cache()


def test_no_room_means_a_live_teacher(shop, of, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shop()
    monkeypatch.setattr(disk, "RESERVE", 1 << 60)
    assert "GB left" in made.cache
    assert made.train(of(made)).status == "done"
    assert not list(made.folder.glob("teacher"))
    record = made.teaching_record(0.0)
    assert (record.cache, record.size, record.reason) == ("off", 0, made.cache)


def test_room_is_not_asked_for_what_is_there(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop().fill_cache()
    monkeypatch.setattr(disk, "RESERVE", 1 << 60)
    assert isinstance(shop().cache, TeacherCache)


def test_a_head_that_is_no_plain_matrix_means_a_live_teacher(
    shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adakd.training.context.head_of", lambda *_: "since it is odd")
    assert shop().cache == "its head cannot be taken from it, since it is odd"


def test_the_mode_is_part_of_what_decides_a_student(make_suite, workshop) -> None:
    def keys(suite: Suite) -> dict[str, str]:
        return {str(cell): cell.key for cell in workshop(suite).plan.cells}

    one, other = keys(make_suite()), keys(make_suite({"teacher.cache": "off"}))
    changed = {cell for cell, key in one.items() if other[cell] != key}
    assert changed == {cell for cell in one if cell.startswith("reverse_kl")}


def test_it_is_not_written_through_a_reading(shop) -> None:
    made = shop(**ALL_ROWS)
    made.fill_cache()
    before = (made.cache.folder / "states.bin").read_bytes()
    batch = next(batches(made, 4))
    made.teaching(batch, counted(batch)).states.zero_()
    assert (made.cache.folder / "states.bin").read_bytes() == before
