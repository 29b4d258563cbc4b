"""A cell is resolved once: what its training needs is in its assignment."""

from typing import Any

import pytest

from adakd.planning import Assignment, plan
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


@pytest.mark.parametrize("devices", [1, 2, 5])
def test_processes_share_the_epochs_and_multiply_the_steps(make_suite, devices: int) -> None:
    by_epochs = assigned(make_suite(EPOCHS), "reverse_kl").resolved(40, devices)
    assert by_epochs.steps == 2 * 40 / (4 * devices)
    assert by_epochs.sequences == 2 * 40
    by_steps = assigned(make_suite(), "reverse_kl").resolved(40, devices)
    assert (by_steps.steps, by_steps.sequences) == (4, 4 * 4 * devices)


def test_held_out_rows_are_not_trained_on(make_suite) -> None:
    policy = {"name": "replay", "held_out": 8}
    rows = [{"divergence": "reverse_kl", "policy": policy, "label": "replay"}]
    resolved = assigned(make_suite({**EPOCHS, "divergences": rows}), "replay").resolved(40)
    assert (resolved.rows, resolved.steps) == (32, 16)
