"""A cell is resolved once: what its training needs is in its assignment."""

from math import ceil
from typing import Any

import pytest

from adakd.errors import AdakdError
from adakd.planning import Assignment, plan
from adakd.planning.units import units
from adakd.policies import Decoding

EPOCHS = {"training.steps": ..., "training.epochs": 2}


def assigned(suite: Any, method: str) -> Assignment:
    return next(one for one in plan(suite).assignments if one.cell.method == method)


def test_the_arms_of_a_pair_differ_in_cell_and_method_alone(make_suite) -> None:
    plain, adaptive = (
        assigned(make_suite(), name) for name in ("reverse_kl", "reverse_kl + adakd")
    )
    assert plain.adaptive is None
    assert adaptive.adaptive is not None
    own = {"cell": plain.cell, "recipe": plain.recipe, "adaptive": None}
    assert adaptive.model_copy(update=own) == plain


def test_controls_and_the_teacher_learn_from_the_labels_of_all_rows(make_suite) -> None:
    suite = make_suite({"divergences": [{"divergence": "reverse_kl", "policy": "replay"}]})
    for method in ("teacher", "untrained", "sft"):
        one = assigned(suite, method)
        assert (one.baseline, one.adaptive, one.held_out, one.generates) == (None, None, 0, False)
    assert assigned(suite, "untrained").training is None
    assert assigned(suite, "teacher").training == suite.teacher.sft


def test_the_traits_of_a_policy_are_in_the_assignment(make_suite) -> None:
    policies: list[dict[str, Any]] = [
        {"name": "on_policy", "lmbda": 1},
        {"name": "replay", "held_out": 7},
        {"name": "sequence_level", "temperature": 0},
    ]
    rows = [{"divergence": "reverse_kl", "policy": policy} for policy in policies]
    found = [one for one in plan(make_suite({"divergences": rows})).assignments if one.baseline]
    traits = {(one.generates, one.held_out, one.rewriting) for one in found}
    assert traits == {(True, 0, None), (True, 7, None), (False, 0, Decoding(temperature=0))}


def test_each_training_has_a_policy_of_its_own(make_suite) -> None:
    one = assigned(make_suite(), "reverse_kl")
    assert one.new_policy() is not one.new_policy()


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_devices_share_a_step_and_change_neither_it_nor_a_key(make_suite, devices: int) -> None:
    split = {"training.gradient_accumulation": 4}
    one = make_suite({**EPOCHS, **split})
    several = make_suite({**EPOCHS, **split, "training.devices": devices})
    resolved = assigned(several, "reverse_kl").resolved(40)
    assert resolved.steps == 2 * ceil(40 / 16)
    assert plan(several).keys == plan(one).keys
    trained = [
        u for u in units(plan(several)) if u.kind == "student" and u.cell.role != "untrained"
    ]
    assert {unit.devices for unit in trained} == {devices}
    others = [unit for unit in units(plan(several)) if unit not in trained]
    assert {unit.devices for unit in others} == {1}


def test_devices_that_cannot_share_the_micro_batches_are_refused(make_suite) -> None:
    for batch, parts, devices, fix in ((8, 1, 2, (4, 2)), (4, 4, 3, (3, 6)), (2, 8, 16, (1, 16))):
        split = {"batch_size": batch, "gradient_accumulation": parts, "devices": devices}
        changes = {f"training.{name}": value for name, value in split.items()}
        with pytest.raises(AdakdError, match=f"devices: {devices} cannot share") as told:
            make_suite(changes)
        assert f"batch_size: {fix[0]} with gradient_accumulation: {fix[1]}" in str(told.value)
        fixed = {"training.batch_size": fix[0], "training.gradient_accumulation": fix[1]}
        assert make_suite({**changes, **fixed}).training.devices == devices


@pytest.mark.parametrize("section", ["training", "teacher.sft"])
def test_sharding_needs_devices_and_changes_no_key(make_suite, section: str) -> None:
    split = {f"{section}.gradient_accumulation": 2}
    spread = {**split, f"{section}.devices": 2, f"{section}.shard": True}
    assert plan(make_suite(spread)).keys == plan(make_suite(split)).keys
    with pytest.raises(AdakdError, match=r"shard: true spreads .* set devices to 2"):
        make_suite({f"{section}.shard": True})
    with pytest.raises(AdakdError, match=r"shard: true .* use bf16 or float32"):
        make_suite({**spread, f"{section}.precision": "fp16"})


def test_the_gradient_of_one_layer_is_not_analysed_where_none_is_whole(make_suite) -> None:
    spread = {
        "training.gradient_accumulation": 2,
        "training.devices": 2,
        "training.shard": True,
        "diagnostics.every": 2,
    }
    assert make_suite(spread).training.shard
    with pytest.raises(AdakdError, match=r"diagnostics\.layer: .* leave one of the two out"):
        make_suite({**spread, "diagnostics.layer": -1})


def test_held_out_rows_are_not_trained_on(make_suite) -> None:
    policy = {"name": "replay", "held_out": 8}
    rows = [{"divergence": "reverse_kl", "policy": policy, "label": "replay"}]
    resolved = assigned(make_suite({**EPOCHS, "divergences": rows}), "replay").resolved(40)
    assert (resolved.rows, resolved.steps) == (32, 16)
