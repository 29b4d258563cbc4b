"""Data policies in trainings: fair between arms, resumable, and nothing where they do nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from adakd.data.example import IGNORED
from adakd.data.tokenized import Encoded
from adakd.errors import AdakdError
from adakd.planning import Cell
from adakd.policies import Examples, Policy, PolicyContext, policy
from adakd.store.records import Step
from adakd.training import batches, trainer
from adakd.training.context import Workshop
from adakd.training.overhead import measure_overhead
from adakd.training.trainer import POLICY

SMALL = {
    "teacher.sft.steps": 2,
    "training.steps": 6,
    "training.gradient_accumulation": 2,
    "training.save_every": 2,
    "student.config.attention_dropout": 0.1,  # or the global random numbers would not matter
}


def row(name: str, **settings: Any) -> dict[str, Any]:
    short = {} if name == "offline" else {"max_new_tokens": 6}
    return {"divergence": "reverse_kl", "policy": {"name": name, **short, **settings}}


@pytest.fixture
def shop(make_suite, workshop) -> Callable[..., Workshop]:
    """Open a workshop of one row whose teacher is trained; of the same name, the same folder."""

    def make(row: Any, name: str = "run", **changes: Any) -> Workshop:
        rows = row if isinstance(row, list) else [row]
        made: Workshop = workshop(make_suite({**SMALL, "divergences": rows, **changes}), name)
        if not made.home(made.plan.teacher).exists():
            made.train(made.plan.teacher)
        return made

    return make


def weights(shop: Workshop, cell: Cell) -> dict[str, Tensor]:
    return dict(shop.load(cell).state_dict())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def told(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    return [step.model_dump(exclude={"seconds"}) for step in steps]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """Every batch that a loss is taken of."""
    batches: list[dict[str, Tensor]] = []
    real = trainer.distillation_loss

    def spy(student: Any, teacher: Any, objective: Any, batch: Any, clock: Any) -> Any:
        batches.append({name: value.clone() for name, value in batch.items()})
        return real(student, teacher, objective, batch, clock)

    monkeypatch.setattr(trainer, "distillation_loss", spy)
    return batches


def is_fresh(batch: dict[str, Tensor]) -> bool:
    return bool((batch["number"] < 0).all())


# --- a policy that does nothing is none -------------------------------------------------------


@pytest.mark.parametrize("cache", ["fp16", "off"])
@pytest.mark.parametrize("lora", [None, {"r": 2, "dropout": 0.1}], ids=["full", "lora"])
def test_on_policy_at_lmbda_zero_is_offline_bit_for_bit(shop, of, cache: str, lora: Any) -> None:
    changes = {"teacher.cache": cache, "training.lora": lora}
    one, other = shop("reverse_kl", "one", **changes), shop(row("on_policy", lmbda=0), **changes)
    steps = [made.train(of(made)).steps for made in (one, other)]
    assert told(steps[0]) == told(steps[1])
    assert equal(weights(one, of(one)), weights(other, of(other)))


def test_replay_whose_loss_never_rises_is_offline_on_its_rows(shop, of, monkeypatch) -> None:
    """It validates at every step: neither random numbers nor the student are disturbed."""
    losses: list[float] = []
    real = batches.Feed.validate

    def spy(self: Any, model: Any) -> float:
        losses.append(real(self, model))
        return losses[-1]

    monkeypatch.setattr(batches.Feed, "validate", spy)
    never = row("replay", eps=1e9, held_out=7, validate_every=0.1)
    replay = shop(never, "replay", **{"teacher.cache": "off"})
    offline = shop("reverse_kl", "offline", **{"teacher.cache": "off"})
    kept = replay.lessons.encoded(of(replay)).examples
    assert len(kept) == 33
    offline.lessons.whole = Encoded(kept, 0)
    steps = [made.train(of(made)).steps for made in (offline, replay)]
    assert len(losses) == 6
    assert len(set(losses)) == 6  # of the student as it learns
    assert told(steps[0]) == told(steps[1])
    assert equal(weights(offline, of(offline)), weights(replay, of(replay)))


def test_replay_without_threshold_and_validation_is_offline(shop, of) -> None:
    one, other = shop("reverse_kl", "one"), shop(row("replay", held_out=0))
    for made in (one, other):
        made.train(of(made))
    assert equal(weights(one, of(one)), weights(other, of(other)))


# --- what the student meets -------------------------------------------------------------------


def test_at_lmbda_one_the_student_learns_from_what_it_says(shop, of, seen) -> None:
    made = shop(row("on_policy", lmbda=1))
    seen.clear()
    record = made.train(of(made))
    rows, end = made.encoded.examples, made.tokenizer.eos_token_id
    assert len(seen) == 12
    assert all(step.seconds["generation"] > 0 for step in record.steps)
    for batch in seen:
        assert is_fresh(batch)
        fields = (batch[name] for name in ("input_ids", "labels", "attention_mask", "number"))
        for ids, labels, mask, number in zip(*fields, strict=True):
            prompt = rows[-1 - int(number)].prompt
            length = int(mask.sum())
            said = labels[labels != IGNORED].tolist()
            assert ids[: len(prompt)].tolist() == prompt
            assert ids[len(prompt) : length].tolist() == said
            assert labels[len(prompt) : length].tolist() == said
            assert 1 <= len(said) <= 6
            assert end not in said[:-1]
            assert mask.tolist() == [1] * length + [0] * (len(mask) - length)
            assert said != rows[-1 - int(number)].labels[len(prompt) :]


def test_both_arms_draw_alike(shop, of, seen) -> None:
    made = shop(row("on_policy", lmbda=0.5))
    seen.clear()
    fresh = []
    for arm in ("plain", "adakd"):
        made.train(of(made, arm=arm))
        fresh.append([is_fresh(batch) for batch in seen])
        first = [batch["input_ids"] for batch in seen[:2]]
        seen.clear()
        fresh[-1].append(first)
    (*one, first), (*other, its_first) = fresh
    assert one == other
    assert 0 < sum(one) < len(one) == 12
    # Until the first optimizer step the students are the same, and so is what they say.
    assert all(torch.equal(a, b) for a, b in zip(first, its_first, strict=True))


def test_a_seed_has_draws_of_its_own(shop, seen) -> None:
    made = shop(row("on_policy", lmbda=0.5), **{"seeds": [1, 2], "training.steps": 8})
    drawn = []
    for cell in made.plan.cells:
        if cell.role == "distilled" and cell.arm == "plain":
            seen.clear()
            made.train(cell)
            drawn.append([is_fresh(batch) for batch in seen])
    assert drawn[0] != drawn[1]


def test_replay_hands_out_what_was_said_before(shop, of, seen) -> None:
    """At a threshold of 1 with a small buffer: first it is filled, later mostly taken from."""
    made = shop(
        row("replay", threshold=1, held_out=0, capacity=8),
        **{"training.steps": 12, "training.gradient_accumulation": 1},
    )
    seen.clear()
    made.train(of(made))
    assert all(is_fresh(batch) for batch in seen)

    def texts(batch: dict[str, Tensor]) -> set[tuple[int, ...]]:
        rows = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
        return {tuple(ids[kept].tolist()) for ids, kept in rows}

    known: set[tuple[int, ...]] = set()
    old = []
    for batch in seen:
        old.append(texts(batch) <= known)
        known |= texts(batch)
    assert old[:2] == [False, False]
    assert sum(old[6:]) > sum(old[:6])


# --- killed and continued ---------------------------------------------------------------------


class Killed(Exception):
    pass


def killed_after(steps: int) -> Callable[[int], None]:
    def on_step(done: int) -> None:
        if done == steps:
            raise Killed

    return on_step


MOVING = row("replay", threshold=0.4, eps=0, held_out=4, validate_every=0.2, capacity=6)


@pytest.mark.parametrize("kind", [row("on_policy", lmbda=0.5), MOVING], ids=["on", "replay"])
@pytest.mark.parametrize("arm", ["plain", "adakd"])
def test_a_killed_training_goes_on_to_the_same_end(shop, of, kind: Any, arm: str) -> None:
    changes = {"training.steps": 9, "training.learning_rate": 0.05}
    straight, broken = shop(kind, "straight", **changes), shop(kind, "broken", **changes)
    whole = straight.train(of(straight, arm=arm))
    for kill_at in (5, 8):
        with pytest.raises(Killed):
            broken.train(of(broken, arm=arm), killed_after(kill_at))
        broken = shop(kind, "broken", **changes)
    mended = broken.train(of(broken, arm=arm))
    assert told(mended.steps) == told(whole.steps)
    assert equal(weights(broken, of(broken, arm=arm)), weights(straight, of(straight, arm=arm)))


def test_the_state_of_the_policy_is_what_goes_on(shop, of) -> None:
    """The negative of the test above: without the buffer and the threshold it is another end."""
    ends = []
    for forget in (False, True):
        made = shop(MOVING, f"run{forget}", **{"training.steps": 9})
        with pytest.raises(Killed):
            made.train(of(made), killed_after(7))
        files = list(made.home(of(made)).with_name("checkpoints").glob(f"*/{POLICY}"))
        assert files
        for file in files if forget else ():
            file.write_text('{"threshold": 0.0, "reference": null, "buffer": []}')
        ends.append(shop(MOVING, f"run{forget}", **{"training.steps": 9}))
        ends[-1].train(of(ends[-1]))
    assert not equal(*(weights(end, of(end)) for end in ends))


# --- the teacher ------------------------------------------------------------------------------


def test_offline_rows_keep_their_cache_beside_fresh_ones(shop, of) -> None:
    """Whatever comes first, what is kept is the same, and only their readings are counted."""
    rows = ["reverse_kl", {**row("on_policy", lmbda=1), "label": "gkd"}]
    alone = shop("reverse_kl", "alone")
    alone.train(of(alone))
    for order in (1, -1):
        made = shop(rows[::order], f"run{order}")
        for cell in made.plan.cells:
            if cell.role == "distilled":
                made.train(cell)
        cells = {cell.method: cell for cell in made.plan.cells}
        assert set(cells) >= {"gkd", "gkd + adakd", "reverse_kl", "reverse_kl + adakd"}
        assert equal(weights(made, cells["reverse_kl"]), weights(alone, of(alone)))
        assert made.cache.folder.name == alone.cache.folder.name
        record = made.teaching_record(0.0)
        assert record == alone.teaching_record(0.0).model_copy(update={"key": record.key})


def test_with_fresh_rows_alone_nothing_is_kept(shop, of) -> None:
    made = shop(row("on_policy", lmbda=1))
    assert made.train(of(made)).status == "done"
    assert "makes its sequences in training" in made.cache
    assert not (made.folder / "teacher").exists()


def test_a_policy_that_hides_that_it_is_fresh_is_found_out(shop, of) -> None:
    from adakd.policies import Decoding

    @policy("sly")
    class Sly(Policy):
        def __call__(self, rows: Examples, context: PolicyContext) -> Examples:
            return context.generate(rows, Decoding(max_new_tokens=2))

    made = shop({"divergence": "reverse_kl", "policy": "sly"})
    with pytest.raises(AdakdError, match=r"Sly: .*set its `fresh` to True"):
        made.train(of(made))


# --- what a step of it costs ------------------------------------------------------------------


@pytest.mark.parametrize("lmbda", [0, 1])
def test_both_arms_are_timed_on_one_generated_batch(shop, of, lmbda: float) -> None:
    made = shop(row("on_policy", lmbda=lmbda), **{"timing": {"pairs": 2, "warmup": 1}})
    record = measure_overhead(made, of(made), of(made, arm="adakd"))
    for plain, adaptive in record.pairs:
        assert plain.seconds.get("generation") == adaptive.seconds.get("generation")
        assert ("generation" in plain.seconds) == (lmbda == 1)
    assert record.divergence == f"reverse_kl, on_policy(max_new_tokens=6, lmbda={lmbda})"
    assert lmbda == 0 or record.tokens <= 4 * 6


# --- what the teacher writes ------------------------------------------------------------------


def test_sequence_level_learns_from_the_teachers_own_text_through_the_cache(shop, of, seen) -> None:
    made = shop(row("sequence_level"), **{"timing.pairs": 0})
    seen.clear()
    for arm in ("plain", "adakd"):
        made.train(of(made, arm=arm))
    (answers,) = made.lessons.answers
    rows = made.encoded.examples
    said = {tuple(rows[n].prompt + text) for n, text in answers.responses.items()}
    assert not said & {tuple(row.input_ids) for row in rows}
    for batch in seen:
        lines = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
        assert {tuple(ids[kept].tolist()) for ids, kept in lines} <= said
        assert int(batch["number"].min()) >= len(rows)  # numbers of their own, for the cache
    assert {example.number for example in made.cache.examples} == {
        int(number) for batch in seen for number in batch["number"]
    }


def test_what_the_teacher_wrote_is_written_once_and_mended(shop, of) -> None:
    made = shop(row("sequence_level"), **{"training.steps": 20})
    (answers,) = made.lessons.answers

    def stop(done: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        made.lessons.fill_answers(answers, stop)
    whole = answers.file.read_text()
    answers.file.write_text(whole[:-4])  # the last line is half there
    (later,) = shop(row("sequence_level"), **{"training.steps": 20}).lessons.answers
    assert len(later.responses) == 11
    assert sum(map(len, later.missing)) == 29
    made.lessons.fill_answers(later)
    straight = shop(row("sequence_level"), "other", **{"training.steps": 20})
    (other,) = straight.lessons.answers
    straight.lessons.fill_answers(other)
    assert later.responses == other.responses
    (again,) = shop(row("sequence_level"), **{"training.steps": 20}).lessons.answers
    assert not again.missing
