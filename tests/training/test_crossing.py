"""Trainings across two tokenizers: what they compare, and what both arms share."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adakd.data.example import IGNORED, Example
from adakd.errors import AdakdError
from adakd.models import loading
from adakd.store.records import DiagnosticRecord, TrainingRecord
from adakd.training.crossing import Crossing
from adakd.training.trainer import balanced

OTHER = {"bridge": "overlap", "student.vocabulary": 300}
"""A student with a tokenizer of its own: on the puzzles' rows, with fewer entries."""
SAME = {"bridge": "overlap", "student.vocabulary": 400}
"""The settings of the teacher's tokenizer, so the same one."""
NEUTRAL = {"name": "adakd", "focus": "fixed", "temperature": "fixed"}


def losses(record: TrainingRecord) -> list[float]:
    return [step.loss for step in record.steps]


def response(example: Example) -> list[int]:
    return [label for label in example.labels if label != IGNORED]


def test_the_same_tokenizer_is_plain_distillation_bit_for_bit(make_suite, trainings) -> None:
    plain, crossed = (
        trainings(make_suite(changes), name)
        for name, changes in (("plain", {"student.vocabulary": 400}), ("crossed", SAME))
    )
    assert crossed.context.translation is None
    assert not crossed.context.crossings
    found = []
    for run in (plain, crossed):
        record = run.train(run.find(arm="adakd"))
        assert record.bridge is None
        found.append((losses(record), run.weights(run.find(arm="adakd"))))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(found[0][1][name], found[1][1][name]) for name in found[0][1])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"teacher.cache": "off"},
        {"training.lora": {"r": 2}},
        {"training.gradient_accumulation": 2},
        {"divergences": [{"divergence": "forward_kl", "policy": "sequence_level"}]},
        {"divergences": [{"divergence": "jensen_shannon", "policy": "on_policy"}]},
        {
            "divergences": [
                {"divergence": "reverse_kl", "policy": {"name": "replay", "held_out": 4}}
            ]
        },
    ],
    ids=str,
)
def test_a_student_with_another_tokenizer_learns(
    make_suite, trainings, changes: dict[str, Any]
) -> None:
    arms = {"neutral": NEUTRAL, "adakd": "adakd"}
    run = trainings(make_suite({**OTHER, "arms": arms, **changes}))
    assert len(run.context.tokenizer) == 300
    assert len(run.context.teacher_tokenizer) == 400
    plain, neutral, real = (run.find(arm=arm) for arm in ("plain", "neutral", "adakd"))
    records = [run.train(cell) for cell in (plain, neutral, real)]
    assert all(record.status == "done" for record in records)
    assert losses(records[0]) == losses(records[1])
    one, other = run.weights(plain), run.weights(neutral)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert records[2].steps[-1].temperature != 1
    use = records[0].bridge
    assert use is not None
    assert use == records[2].bridge
    assert 0 < use.units == use.aligned == use.teacher_aligned < min(use.teacher_tokens, use.tokens)
    assert use.mass == pytest.approx(1)  # the smaller vocabulary is a part of the larger
    assert use.teacher_mass is not None
    assert 0 < use.teacher_mass < 1
    assert run.load(plain).get_input_embeddings().weight.shape[0] == 300


@pytest.mark.parametrize("name", ["uld", "gold", "simct", "alm", "x_token"])
def test_every_bridge_trains_in_both_arms(make_suite, trainings, name: str) -> None:
    arms = {"neutral": NEUTRAL, "adakd": "adakd"}
    more = {"bridge": name, "arms": arms, "diagnostics": {"every": 4, "layer": 0}}
    run, kept = trainings(make_suite({**OTHER, **more})), list[DiagnosticRecord]()
    plain, neutral, real = (
        run.train(run.find(arm=arm), keep=kept.append) for arm in ("plain", "neutral", "adakd")
    )
    assert losses(plain) == losses(neutral)
    assert [record.step for record in kept] == [1, 4] * 3
    for record in kept:
        assert record.layer_gradient is not None
        shares = [group.share for group in record.layer_gradient.values()]
        assert sum(share or 0.0 for share in shares) == pytest.approx(1)
    assert real.steps[-1].temperature != 1
    assert 0 < min(losses(plain)) <= max(losses(plain)) < 10
    assert plain.bridge is not None
    assert plain.bridge.units < plain.bridge.aligned  # units of several tokens
    assert plain.bridge.share == plain.bridge.teacher_share == 1


def test_a_tokenizer_with_some_tokens_more_is_bridged_whole(
    make_suite, trainings, tmp_path: Path
) -> None:
    """As between Qwen2.5 and Qwen3: every token of the text is a unit, only the mass differs."""
    base = trainings(make_suite())
    more = copy.deepcopy(base.context.tokenizer)
    more.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    model = loading.scratch_model(base.suite.student, more, seed=1)
    loading.save(model, more, tmp_path / "more")
    student = {"kind": "pretrained", "model": str(tmp_path / "more")}
    refused = trainings(make_suite({"student": student}), "refused")
    with pytest.raises(AdakdError, match="name a `bridge:` in the suite, such as overlap"):
        refused.train(refused.find())
    run = trainings(make_suite({"student": student, "bridge": "overlap"}), "bridged")
    record = run.train(run.find(arm="adakd"))
    use = record.bridge
    assert use is not None
    assert use.units == use.tokens == use.teacher_tokens
    assert use.teacher_mass == pytest.approx(1)
    assert use.mass is not None
    assert 0.9 < use.mass < 1


def test_rows_with_bridges_of_their_own_are_trained_as_in_suites_of_one(
    make_suite, trainings
) -> None:
    """One run for several bridges: same keys and weights, one teacher, each row by its bridge."""
    rows = [{"divergence": "reverse_kl", "bridge": name} for name in ("overlap", "gold")]
    both = trainings(make_suite({"student.vocabulary": 300, "divergences": rows}), "both")
    assert {*both.context.crossings} == {"overlap", "gold"}
    for name in ("overlap", "gold"):
        more = {"student.vocabulary": 300, "divergences": ["reverse_kl"], "bridge": name}
        alone = trainings(make_suite(more), name)
        there = alone.find()
        here = next(cell for cell in both.distilled() if cell.key == there.key)
        assert here.method == f"reverse_kl, {name}"
        records = both.train(here), alone.train(there)
        assert records[0].bridge == records[1].bridge
        assert losses(records[0]) == losses(records[1])
        ours, theirs = both.weights(here), alone.weights(there)
        assert all(torch.equal(ours[part], theirs[part]) for part in ours)


def test_a_step_split_over_micro_batches_has_one_selection(make_suite, trainings) -> None:
    step = {"name": "adakd", "scope": "step", "focus": {"name": "fixed", "ratio": 0.5}}
    found = []
    for size, micro in ((4, 1), (2, 2)):
        changes = {"training.batch_size": size, "training.gradient_accumulation": micro}
        suite = make_suite({**OTHER, "arms": {"adakd": step}, "teacher.cache": "off", **changes})
        run = trainings(suite, f"of-{size}")
        found.append(losses(run.train(run.find(arm="adakd"))))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("changes", [{}, OTHER], ids=["one tokenizer", "two tokenizers"])
def test_cross_entropy_is_added_with_its_weight(make_suite, trainings, changes) -> None:
    """The first step of the same student: its divergence, and that of SFT times the weight."""
    weight = {"objective.cross_entropy": 0.25}
    split = {"training.batch_size": 2, "training.gradient_accumulation": 2}
    alone, both = (
        trainings(make_suite({**changes, **split, **more}), name)
        for name, more in (("alone", {}), ("both", weight))
    )
    first = losses(alone.train(alone.find()))[0]
    supervised = losses(alone.train(alone.find("sft")))[0]
    assert losses(both.train(both.find()))[0] == pytest.approx(first + supervised / 4, rel=1e-5)


@pytest.mark.parametrize("changes", [{}, OTHER], ids=["one tokenizer", "two tokenizers"])
def test_a_dynamic_weight_gives_the_divergence_the_value_of_the_cross_entropy(
    make_suite, trainings, changes
) -> None:
    """The first step of the same student: twice the loss of SFT, over both micro-batches."""
    split = {"training.batch_size": 2, "training.gradient_accumulation": 2}
    weight = {"objective.cross_entropy": "dynamic"}
    run = trainings(make_suite({**changes, **split, **weight}))
    supervised = losses(run.train(run.find("sft")))[0]
    for arm in ("plain", "adakd"):
        assert losses(run.train(run.find(arm=arm)))[0] == pytest.approx(2 * supervised, rel=1e-5)


def test_balanced_terms_have_one_value_and_the_divergence_keeps_its_direction() -> None:
    given = torch.tensor([3.0, 2.0], requires_grad=True)
    divergence, supervised = given.square().sum(), (5 * given).sum()
    total = balanced(divergence, supervised, "dynamic")
    assert float(total.detach()) == pytest.approx(2 * 25)
    (gradient,) = torch.autograd.grad(total, given)
    assert gradient.tolist() == pytest.approx([25 / 13 * 6 + 5, 25 / 13 * 4 + 5])
    for zero, weight, wanted in ((0, "dynamic", 25), (1, 0.1, 13 + 25)):
        assert float(balanced(zero * divergence, supervised, weight).detach()) == wanted


@pytest.mark.parametrize("weight", [0.5, "dynamic"])
def test_the_focus_follows_the_divergence_alone(
    make_suite, trainings, monkeypatch, weight: float | str
) -> None:
    from adakd.adaptive.adakd import AdaKD

    seen: list[float] = []
    monkeypatch.setattr(AdaKD, "update", lambda self, loss: seen.append(loss))
    one = {"training.steps": 1}
    run = trainings(make_suite({"objective.cross_entropy": weight, **one}))
    run.train(run.find(arm="adakd"))
    alone = trainings(make_suite(one), "alone")
    assert seen[:1] == [pytest.approx(losses(alone.train(alone.find(arm="adakd")))[0], rel=1e-5)]


def test_both_sides_of_a_sequence_are_one_text(make_suite, trainings) -> None:
    run = trainings(make_suite(OTHER))
    sides = run.context.translation
    assert sides is not None
    for example in run.context.encoded.examples:
        other = sides.teacher_side(example)
        texts = [
            tokenizer.decode(response(side), skip_special_tokens=True)
            for tokenizer, side in ((sides.student, example), (sides.teacher, other))
        ]
        assert texts[0] == texts[1]
        assert other.input_ids[-1] == sides.teacher.eos_token_id


def test_what_a_student_wrote_crosses_as_text(make_suite, trainings) -> None:
    run = trainings(make_suite(OTHER))
    sides, row = run.context.translation, run.context.encoded.examples[3]
    assert sides is not None
    tokenizer = run.context.tokenizer
    written = tokenizer("r\u00e9d cat", add_special_tokens=False)["input_ids"]
    ended = row.with_response([*written, tokenizer.eos_token_id], -1 - row.number)
    there = sides.teacher_side(ended)
    assert there.prompt == sides.teacher_side(row).prompt
    assert sides.teacher.decode(response(there)) == "r\u00e9d cat<end>"
    half = tokenizer("r\u00e9", add_special_tokens=False)["input_ids"][:-1]
    cut = sides.teacher_side(row.with_response(half, -1 - row.number))
    assert sides.teacher.decode(response(cut)) == "r"


def test_the_unit_labels_are_the_tokens_themselves(make_suite, trainings) -> None:
    run = trainings(make_suite(OTHER))
    (crossing,), rows = run.context.crossings.values(), run.context.encoded.examples[:5]
    batch = crossing.collate(rows)
    columns = crossing.bridge.columns[0]
    ids = [token for row in rows for token in response(row)]
    starts = batch["units"][:, 0].tolist()
    assert columns[batch["unit_labels"].numpy()].tolist() == [ids[start] for start in starts]
    counts = [len(crossing.units(row)) for row in rows]
    assert batch["unit_sequence"].bincount().tolist() == counts


def test_without_a_unit_the_run_stops_before_any_training(make_suite, trainings) -> None:
    run = trainings(make_suite(OTHER))
    (crossing,), (row, *_) = run.context.crossings.values(), run.context.encoded.examples
    with pytest.raises(AdakdError, match="bridge: Overlap finds no unit in 1 training sequences"):
        crossing.check([_without_response(row)])


def test_ends_alone_are_nothing_to_learn_from(make_suite, trainings, monkeypatch) -> None:
    """As of two tokenizers without a common entry, whose end tokens are a pair all the same."""
    run = trainings(make_suite(OTHER))
    (crossing,), rows = run.context.crossings.values(), run.context.encoded.examples
    align = crossing.bridge.align
    monkeypatch.setattr(crossing.bridge, "align", lambda *sides: align(*sides)[-1:])
    with pytest.raises(AdakdError, match="finds no unit in"):
        crossing.check(rows)


def _without_response(row: Example) -> Example:
    return Example(-1 - row.number, row.prompt, [IGNORED] * len(row.prompt))


def test_the_overhead_is_measured_across_tokenizers(make_suite, trainings) -> None:
    run = trainings(make_suite({**OTHER, "objective.cross_entropy": 0.1}))
    assert len(run.measure().pairs) == 1


def test_diagnostics_are_of_units(make_suite, trainings) -> None:
    run = trainings(make_suite({**OTHER, "diagnostics": {"every": 2, "layer": 0}}))
    kept: list[DiagnosticRecord] = []
    run.train(run.find(arm="adakd"), keep=kept.append)
    assert [record.step for record in kept] == [1, 2, 4]
    (crossing,) = run.context.crossings.values()
    texts = {
        crossing.sides.student.decode([token])
        for row in run.context.encoded.examples
        for token in crossing.bridge.columns[0][crossing.bridge.labels(_firsts(crossing, row))]
    }
    for record in kept:
        assert {marked.text for marked in (*record.text, *record.hardest)} <= texts
        assert record.layer_gradient is not None


def _firsts(crossing: Crossing, row: Example) -> Any:
    ids = np.array(response(row))
    return ids[crossing.units(row)[:, 0]]
