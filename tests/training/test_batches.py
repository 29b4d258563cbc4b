"""Data policies in trainings: fair between arms, resumable, and nothing where they do nothing."""

import json
import shutil
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
from adakd.store.steps import Steps
from adakd.training import batches, trainer
from adakd.training.checkpoints import complete
from adakd.training.teacher_responses import TeacherResponses
from adakd.training.trainer import POLICY

SMALL = {
    "teacher.sft.steps": 2,
    "training.steps": 6,
    "training.gradient_accumulation": 2,
    "training.save_every": 2,
    "student.config.attention_dropout": 0.1,  # or the global random numbers would not matter
    "evaluation.engine": "batches",  # faster for so few prompts
}


def row(name: str, **settings: Any) -> dict[str, Any]:
    short = {} if name == "offline" else {"max_new_tokens": 6}
    return {"divergence": "reverse_kl", "policy": {"name": name, **short, **settings}}


@pytest.fixture
def run(make_suite, trainings) -> Callable[..., Any]:
    """Open trainings; the same name means the same folder."""

    def make(row: Any, name: str = "run", **changes: Any) -> Any:
        rows = row if isinstance(row, list) else [row]
        return trainings(make_suite({**SMALL, "divergences": rows, **changes}), name)

    return make


def weights(run: Any, cell: Cell) -> dict[str, Tensor]:
    return dict(run.load(cell).state_dict())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def told(steps: Steps) -> list[dict[str, Any]]:
    return [step.model_dump(exclude={"seconds"}) for step in steps]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """Every batch that a loss is taken of."""
    batches: list[dict[str, Tensor]] = []
    real = trainer.distillation_loss

    def spy(student: Any, teacher: Any, objective: Any, batch: Any, *rest: Any) -> Any:
        batches.append({name: value.clone() for name, value in batch.items()})
        return real(student, teacher, objective, batch, *rest)

    monkeypatch.setattr(trainer, "distillation_loss", spy)
    return batches


def responses(run: Any) -> TeacherResponses:
    (decoding,) = run.data.rewritings
    found: TeacherResponses = run.data.responses(decoding)
    return found


def is_fresh(batch: dict[str, Tensor]) -> bool:
    return bool((batch["number"] < 0).all())


# --- a policy that does nothing is none -------------------------------------------------------


@pytest.mark.parametrize(
    ("cache", "lora"), [("fp16", None), ("off", {"r": 2, "dropout": 0.1})], ids=["full", "lora"]
)
def test_on_policy_at_lmbda_zero_is_offline_bit_for_bit(run, cache: str, lora: Any) -> None:
    changes = {"teacher.cache": cache, "training.lora": lora}
    one, other = run("reverse_kl", "one", **changes), run(row("on_policy", lmbda=0), **changes)
    steps = [made.train(made.find()).steps for made in (one, other)]
    assert told(steps[0]) == told(steps[1])
    assert equal(weights(one, one.find()), weights(other, other.find()))


def test_replay_whose_loss_never_rises_is_offline_on_its_rows(run, monkeypatch) -> None:
    """It validates at every step: neither random numbers nor the student are disturbed."""
    losses: list[float] = []
    real = batches.PolicyBatches.validate

    def spy(self: Any, model: Any) -> float:
        losses.append(real(self, model))
        return losses[-1]

    monkeypatch.setattr(batches.PolicyBatches, "validate", spy)
    never = row("replay", eps=1e9, held_out=7, validate_every=0.1)
    replay = run(never, "replay", **{"teacher.cache": "off"})
    offline = run("reverse_kl", "offline", **{"teacher.cache": "off"})
    kept = replay.data.training_set(replay.assignment(replay.find())).examples
    assert len(kept) == 33
    offline.context.encoded = Encoded(kept, 0, tuple(range(len(kept))))
    steps = [made.train(made.find()).steps for made in (offline, replay)]
    assert len(losses) == 6
    assert len(set(losses)) == 6  # of the student as it learns
    assert told(steps[0]) == told(steps[1])
    assert equal(weights(offline, offline.find()), weights(replay, replay.find()))


def test_replay_without_threshold_and_validation_is_offline(run) -> None:
    one, other = run("reverse_kl", "one"), run(row("replay", held_out=0))
    for made in (one, other):
        made.train(made.find())
    assert equal(weights(one, one.find()), weights(other, other.find()))


# --- what the student meets -------------------------------------------------------------------


def test_at_lmbda_one_the_student_learns_from_what_it_says(run, seen) -> None:
    made = run(row("on_policy", lmbda=1))
    seen.clear()
    record = made.train(made.find())
    rows, end = made.context.encoded.examples, made.context.tokenizer.eos_token_id
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


def test_both_engines_train_on_the_same_responses(run, seen) -> None:
    """A step's prompts go to the engine together, and three at a time; all as one by one."""
    drawn = []
    for engine, size in (("batches", 1), ("continuous", 3)):
        changes = {"evaluation.engine": engine, "evaluation.batch_size": size, "training.steps": 1}
        made = run(row("on_policy", lmbda=1), engine, **changes)
        assert made.train(made.find()).status == "done"
        drawn.append([batch["input_ids"] for batch in seen if is_fresh(batch)])
        seen.clear()
    assert len(drawn[0]) == len(drawn[1]) == 2
    assert all(torch.equal(*pair) for pair in zip(*drawn, strict=True))


def test_both_arms_draw_alike(run, seen) -> None:
    made = run(row("on_policy", lmbda=0.5))
    seen.clear()
    fresh = []
    for arm in ("plain", "adakd"):
        made.train(made.find(arm=arm))
        fresh.append([is_fresh(batch) for batch in seen])
        first = [batch["input_ids"] for batch in seen[:2]]
        seen.clear()
        fresh[-1].append(first)
    (*one, first), (*other, its_first) = fresh
    assert one == other
    assert 0 < sum(one) < len(one) == 12
    # Until the first optimizer step the students are the same, and so is what they say.
    assert all(torch.equal(a, b) for a, b in zip(first, its_first, strict=True))


def test_a_seed_has_draws_of_its_own(run, seen) -> None:
    made = run(row("on_policy", lmbda=0.5), **{"seeds": [1, 2], "training.steps": 8})
    drawn = []
    for cell in made.plan.cells:
        if cell.role == "distilled" and cell.arm == "plain":
            seen.clear()
            made.train(cell)
            drawn.append([is_fresh(batch) for batch in seen])
    assert drawn[0] != drawn[1]


def test_replay_hands_out_what_was_said_before(run, seen) -> None:
    """At a threshold of 1 with a small buffer: first it is filled, later mostly taken from."""
    made = run(
        row("replay", threshold=1, held_out=0, capacity=8),
        **{"training.steps": 12, "training.gradient_accumulation": 1},
    )
    seen.clear()
    made.train(made.find())
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
def test_a_killed_training_goes_on_to_the_same_end(run, kind: Any, arm: str) -> None:
    changes = {"training.steps": 9, "training.learning_rate": 0.05}
    straight, broken = run(kind, "straight", **changes), run(kind, "broken", **changes)
    whole = straight.train(straight.find(arm=arm))
    for kill_at in (5, 8):
        with pytest.raises(Killed):
            broken.train(broken.find(arm=arm), killed_after(kill_at))
        broken = run(kind, "broken", **changes)
    mended = broken.train(broken.find(arm=arm))
    assert told(mended.steps) == told(whole.steps)
    assert equal(weights(broken, broken.find(arm=arm)), weights(straight, straight.find(arm=arm)))


def test_the_state_of_the_policy_is_what_goes_on(run) -> None:
    """The negative of the test above: without the buffer and the threshold it is another end."""
    changes = {"training.steps": 9}
    made = run(MOVING, "right", **changes)
    with pytest.raises(Killed):
        made.train(made.find(), killed_after(7))
    shutil.copytree(made.folder, made.folder.with_name("forgetful"))
    ends = [run(MOVING, name, **changes) for name in ("right", "forgetful")]
    files = list(ends[1].home(made.find()).with_name("checkpoints").glob(f"*/{POLICY}"))
    assert files
    for file in files:
        file.write_text('{"threshold": 0.0, "reference": null, "buffer": []}')
        complete(file.parent)  # what was written counts as undamaged
    for end in ends:
        end.train(end.find())
    assert not equal(*(weights(end, end.find()) for end in ends))


# --- the teacher ------------------------------------------------------------------------------


def test_offline_rows_keep_their_cache_beside_fresh_ones(run) -> None:
    """Whatever comes first, what is kept is the same, and only their readings are counted."""
    rows = ["reverse_kl", {**row("on_policy", lmbda=1), "label": "gkd"}]
    alone = run("reverse_kl", "alone")
    alone.train(alone.find())
    for order in (1, -1):
        made = run(rows[::order], f"run{order}")
        for cell in made.distilled():
            made.train(cell)
        cells = {cell.method: cell for cell in made.plan.cells}
        assert set(cells) >= {"gkd", "gkd + adakd", "reverse_kl", "reverse_kl + adakd"}
        assert equal(weights(made, cells["reverse_kl"]), weights(alone, alone.find()))
        assert made.teacher.stored.folder.name == alone.teacher.stored.folder.name
        record = made.teacher.record(0.0)
        assert record == alone.teacher.record(0.0).model_copy(update={"key": record.key})


def test_with_fresh_rows_alone_nothing_is_kept(run) -> None:
    made = run(row("on_policy", lmbda=1))
    assert made.train(made.find()).status == "done"
    assert "generates its sequences during the training" in made.teacher.stored
    assert not (made.folder / "teacher").exists()


def test_a_policy_that_hides_that_it_is_fresh_is_found_out(run) -> None:
    from adakd.policies import Decoding

    @policy("sly")
    class Sly(Policy):
        def __call__(self, rows: Examples, context: PolicyContext) -> Examples:
            return context.generate(rows, Decoding(max_new_tokens=2))

    made = run({"divergence": "reverse_kl", "policy": "sly"})
    with pytest.raises(AdakdError, match=r"Sly: .*set its `fresh` to True"):
        made.train(made.find())


# --- what a step of it costs ------------------------------------------------------------------


@pytest.mark.parametrize("lmbda", [0, 1])
def test_both_arms_are_timed_on_one_generated_batch(run, lmbda: float) -> None:
    made = run(row("on_policy", lmbda=lmbda), **{"timing": {"pairs": 2, "warmup": 1}})
    record = made.measure()
    for plain, adaptive in record.pairs:
        assert plain.seconds.get("generation") == adaptive.seconds.get("generation")
        assert ("generation" in plain.seconds) == (lmbda == 1)
    assert record.divergence == f"reverse_kl, on_policy(max_new_tokens=6, lmbda={lmbda})"
    assert lmbda == 0 or record.tokens <= 4 * 6


# --- what the teacher writes ------------------------------------------------------------------


def test_sequence_level_learns_from_the_teachers_own_text_through_the_cache(run, seen) -> None:
    made = run(row("sequence_level"), **{"timing.pairs": 0})
    seen.clear()
    for arm in ("plain", "adakd"):
        made.train(made.find(arm=arm))
    answers = responses(made)
    rows = made.context.encoded.examples
    said = {tuple(rows[n].prompt + text) for n, text in answers.responses.items()}
    assert not said & {tuple(row.input_ids) for row in rows}
    for batch in seen:
        lines = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
        assert {tuple(ids[kept].tolist()) for ids, kept in lines} <= said
        assert int(batch["number"].min()) >= len(rows)  # numbers of their own, for the cache
    assert {example.number for example in made.teacher.stored.examples} == {
        int(number) for batch in seen for number in batch["number"]
    }


ODD_LINES = [b"5", b"\xff\xfe\x00", b"[0, [99999999]]", b"[0, [1, 2], 3]", b"[" * 99_999, b"null"]


@pytest.mark.parametrize("damage", [*ODD_LINES, None], ids=lambda odd: str(odd and odd[:16]))
def test_a_damaged_response_of_the_teacher_is_written_again(run, damage: bytes | None) -> None:
    """Also where one token of a whole line has become another."""
    made = run(row("sequence_level"))
    answers = responses(made)
    made.data.fill(answers)
    first, *rest = answers.file.read_bytes().split(b"\n")[1:]
    if damage is None:
        number, tokens, checksum = json.loads(first)
        damage = json.dumps([number, [tokens[0] ^ 1, *tokens[1:]], checksum]).encode()
    answers.file.write_bytes(b"\n".join([damage, *rest]))
    later = responses(run(row("sequence_level")))
    assert len(later.responses) == len(answers.responses) - 1
    made.data.fill(later)
    assert later.responses == answers.responses


def test_what_the_teacher_wrote_is_written_once_and_mended(run) -> None:
    portions = {"training.steps": 20, "evaluation.batch_size": 1}  # of four prompts
    made = run(row("sequence_level"), **portions)
    answers = responses(made)

    def stop(done: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        made.data.fill(answers, stop)
    whole = answers.file.read_text()
    answers.file.write_text(whole[:-4])  # the last line is half there
    later = responses(run(row("sequence_level"), **portions))
    assert len(later.responses) == 11
    assert sum(map(len, later.missing)) == 32  # whole portions: padding would change the rounding
    made.data.fill(later)
    straight = run(row("sequence_level"), "other", **portions)
    other = responses(straight)
    straight.data.fill(other)
    assert later.responses == other.responses
    again = responses(run(row("sequence_level"), **portions))
    assert not again.missing
