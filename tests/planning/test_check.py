"""``controls.check``: the cells that it adds, and that it changes no other key."""

import pytest

from adakd.commands.plan import check_lines
from adakd.planning import Plan, plan
from adakd.planning.assignments import NEUTRAL

ON = {"controls.check": True}


def by_key(planned: Plan) -> dict[str, str]:
    return {cell.key: str(cell) for cell in planned.cells}


def added(planned: Plan, before: Plan) -> list[str]:
    """The cells that are not in the plan before, which lost none."""
    assert by_key(before).items() <= by_key(planned).items()
    assert {job.key for job in before.jobs} <= {job.key for job in planned.jobs}
    return [name for key, name in by_key(planned).items() if key not in by_key(before)]


def test_it_adds_one_neutral_student_at_the_first_seed(make_suite) -> None:
    changes = {"seeds": [7, 3], "divergences": ["reverse_kl", "forward_kl"]}
    before, planned = plan(make_suite(changes)), plan(make_suite({**changes, **ON}))
    assert added(planned, before) == ["forward_kl, neutral adakd"]
    (neutral,) = [one for one in planned.assignments if one.cell.role == "neutral"]
    (twin,) = [
        one for one in planned.assignments if one.cell.method == "forward_kl" and one.cell.seed == 7
    ]
    assert (neutral.cell.seed, neutral.cell.arm, neutral.adaptive) == (7, "plain", NEUTRAL)
    assert twin.adaptive is None
    own = {"cell", "recipe", "adaptive"}
    assert neutral.model_dump(exclude=own) == twin.model_dump(exclude=own)
    assert neutral.cell.has_teacher


def test_it_is_no_pair_that_is_timed(make_suite) -> None:
    """Beside cells and scores only the record of the teacher's states is another."""
    before, planned = plan(make_suite()), plan(make_suite(ON))
    new = set(planned.keys) - set(before.keys)
    (neutral,) = [cell for cell in planned.cells if cell.role == "neutral"]
    its_jobs = {job.key for job in planned.jobs if job.cell == neutral}
    assert new == {neutral.key, planned.teacher_states_key, *its_jobs}


@pytest.mark.parametrize(
    ("divergences", "about"),
    [
        (["reverse_kl", "forward_kl"], "forward_kl"),
        (["reverse_kl", "jensen_shannon"], "reverse_kl"),
        ([{"divergence": "forward_kl", "label": "seqkd", "policy": "sequence_level"}], "seqkd"),
    ],
)
def test_it_is_about_forward_kl_or_else_the_first_row(make_suite, divergences, about) -> None:
    suite = make_suite({"divergences": divergences, **ON})
    assert str(suite.checked) == about
    assert f"{about}, neutral adakd" in {cell.method for cell in plan(suite).cells}
    assert make_suite({"divergences": divergences}).checked is None


def test_it_trains_sft_too(make_suite) -> None:
    changes = {"controls.sft": False}
    before, planned = plan(make_suite(changes)), plan(make_suite({**changes, **ON}))
    assert added(planned, before) == ["sft, seed 1", "reverse_kl, neutral adakd"]


def test_the_plan_says_what_it_adds(make_suite) -> None:
    assert check_lines(make_suite()) == []
    assert check_lines(make_suite(ON)) == [
        "controls.check adds reverse_kl, neutral adakd (seed 1); it compares reverse_kl with sft, "
        "the neutral arm with reverse_kl"
    ]
    (line,) = check_lines(make_suite({"seeds": [2, 1], "controls.sft": False, **ON}))
    assert "adds sft and reverse_kl, neutral adakd (seed 2)" in line
    assert line.endswith(", plain against plain at other seeds")
