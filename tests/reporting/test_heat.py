"""Heat tables: every difference has one place."""

from dataclasses import replace

import pytest

from adakd.reporting.families import arm_differences
from adakd.reporting.heat import TALL, halves, heat_by_arm, heat_by_task


@pytest.fixture(scope="module")
def row(mini):
    return arm_differences(mini).overall[0]


@pytest.mark.parametrize(("arms", "divergences"), [(3, 2), (2, 3), (45, 4)])
def test_the_more_numerous_of_arms_and_divergences_are_the_rows(row, arms, divergences):
    rows = [
        replace(row, arm=f"a{a}", divergence=f"d{d}")
        for a in range(arms)
        for d in range(divergences)
    ]
    table = heat_by_arm(rows)
    assert (len(table.rows), len(table.columns)) == tuple(sorted((arms, divergences), reverse=True))
    assert [cell for block in table.blocks for _, cells in block for cell in cells] == (
        rows if arms >= divergences else sorted(rows, key=lambda one: one.divergence)
    )
    assert len(table.blocks) == (2 if len(table.rows) > TALL else 1)


def test_a_place_without_a_comparison_is_empty(row):
    table = heat_by_arm([row, replace(row, arm="b"), replace(row, divergence="d", arm="b")])
    assert [cells for _, cells in table.rows] == [
        (row, None),
        (replace(row, arm="b"), replace(row, divergence="d", arm="b")),
    ]


def test_tasks_are_columns(mini):
    rows = arm_differences(mini).tasks
    table = heat_by_task(rows)
    assert table.columns == ("dolly", "self-inst", "dolly-choice", "arc_easy")
    assert {one for _, cells in table.rows for one in cells} == set(rows)


def test_halves_keep_the_order():
    assert halves("abcde") == (("a", "b", "c"), ("d", "e"))
