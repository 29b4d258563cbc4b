"""The units of a plan: all of it, each once, none before what it needs."""

from graphlib import TopologicalSorter
from typing import Any

import pytest

from adakd.planning import Plan, plan, timing_key
from adakd.planning.units import KINDS, Unit, units

ON_POLICY = {"divergence": "reverse_kl", "policy": "on_policy"}
WRITTEN = {"divergence": "forward_kl", "policy": "sequence_level"}
SUITES: dict[str, dict[str, Any]] = {
    "micro": {},
    "seeds": {"seeds": [1, 2, 3], "controls": {"sft": True, "longer": 0.5, "check": True}},
    "pruned": {"student": {"kind": "pruned", "drop_layers": [0]}},
    "policies": {"divergences": ["reverse_kl", ON_POLICY, WRITTEN]},
    "generated alone": {"divergences": [ON_POLICY]},
    "untimed": {"timing.pairs": 0},
}


@pytest.fixture(params=SUITES)
def planned(request: pytest.FixtureRequest, make_suite) -> Plan:
    return plan(make_suite(SUITES[request.param]))


def by_key(planned: Plan) -> dict[str, Unit]:
    return {unit.key: unit for unit in units(planned)}


def test_every_key_of_a_plan_is_one_units(planned: Plan) -> None:
    """But that of stored teacher outputs, where every training generates its sequences."""
    found = units(planned)
    made = [key for unit in found for key in [job.key for job in unit.jobs] or [unit.key]]
    assert len({unit.key for unit in found}) == len(found)
    assert len({*made}) == len(made)
    unused = {planned.teacher_states_key} - {unit.key for unit in found}
    if not planned.suite.timing.pairs:
        unused |= {timing_key(one.recipe, planned.suite.timing) for one in planned.assignments}
    assert {*made} == {*planned.keys} - unused
    reads = [one for one in planned.assignments if one.cell.has_teacher and not one.generates]
    assert (planned.teacher_states_key in unused) is not bool(reads)


def test_no_unit_comes_before_one_that_it_needs(planned: Plan) -> None:
    graph = {unit.key: unit.needs for unit in units(planned)}
    assert {*TopologicalSorter(graph).static_order()} == {*graph}  # needs exist; no circle
    seen = set[str]()
    for unit in units(planned):
        assert {*unit.needs} <= seen
        seen.add(unit.key)


def test_a_unit_needs_all_that_it_reads_and_nothing_else(planned: Plan) -> None:
    teacher, teaching = planned.teacher.cell.key, planned.teacher_states_key
    pruned = {teacher} if planned.suite.student.kind == "pruned" else set()
    for unit in units(planned):
        needs = {*unit.needs}
        if unit.kind in ("teacher", "teaching"):
            assert needs == ({teacher} if unit.kind == "teaching" else set())
        elif unit.kind == "student":
            learns = unit.cell.has_teacher
            stored = learns and not unit.assignment.generates
            assert needs == ({teacher} if learns else pruned) | ({teaching} if stored else set())
        elif unit.kind == "score":
            of_student = unit.cell.role != "teacher"
            assert needs == {unit.cell.key} | (pruned if of_student else set())
            assert {job.cell for job in unit.jobs} == {unit.cell}
        else:
            arms = {one.cell.key for pair in unit.twins for one in pair}
            assert needs - {teaching} == {teacher} | arms
            for plain, adaptive in unit.twins:
                assert plain.cell.seed == adaptive.cell.seed
                assert plain.baseline == adaptive.baseline


def test_resources_are_in_no_key(make_suite) -> None:
    """Nor is anything else that a unit takes."""
    asked = {"resources": {kind: {"gpus": 0.25, "cpus": 3, "memory": 8} for kind in KINDS}}
    there, other = by_key(plan(make_suite())), by_key(plan(make_suite(asked)))
    assert {key: unit.needs for key, unit in there.items()} == {
        key: unit.needs for key, unit in other.items()
    }
    assert {unit.takes.gpus for unit in other.values()} == {0.25}
    assert {unit.takes.gpus for unit in there.values()} == {None}
