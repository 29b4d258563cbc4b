"""Students trained elsewhere: their differences to the methods of the run, without pairs."""

import pytest

from adakd.planning import Cell
from adakd.reporting.index import Method
from adakd.reporting.report import Context
from adakd.reporting.sections.elsewhere import Elsewhere, elsewhere
from adakd.store import Store
from adakd.store.records import RunRecord, ScoreRecord, TrainingRecord

THEIRS = Method("elsewhere", "theirs")


def beside(store: Store, count: int) -> Store:
    """Add copies of some trainings of plain forward KL, as if another program had trained them."""
    run = store.of(RunRecord)[-1]
    place = ("forward_kl", "distilled")
    twins = [cell for cell in run.cells if (cell.method, cell.role) == place][:count]
    records, cells = [], []
    for twin in twins:
        cell = Cell(
            role="elsewhere", seed=twin.seed, divergence="theirs", key=f"theirs-{twin.seed}"
        )
        cells.append(cell)
        for kind in (TrainingRecord, ScoreRecord):
            for record in store.of(kind):
                if record.cell == twin:
                    key = record.key.replace(twin.key, cell.key)
                    records.append(record.model_copy(update={"cell": cell, "key": key}))
    wanted = (*run.wanted, *(record.key for record in records))
    cells = [*run.cells, *cells]
    store.add(run.model_copy(update={"cells": tuple(cells), "wanted": wanted}), *records)
    return Store(store.folder)


def found_in(store: Store) -> Elsewhere:
    found = elsewhere(Context.of(store))
    assert found is not None
    return found


def test_a_run_without_them_has_no_such_section(mini: Context) -> None:
    assert elsewhere(mini) is None


def test_copies_differ_from_their_original_by_nothing_and_from_others_as_it_does(
    made_store,
) -> None:
    found = found_in(beside(made_store(failed=None, judge=False, timing=False), 3))
    rows = {row.other: row.difference for row in found.rows}
    assert {row.method for row in found.rows} == {THEIRS}
    assert THEIRS not in rows
    same = rows[Method("distilled", "forward_kl")]
    assert same.estimate == pytest.approx(0)
    assert same.low < 0 < same.high
    assert all(row.trainings[0] == 3 for row in rows.values())
    assert found.trainings == "The intervals cover items and trainings."


def test_a_single_training_says_what_its_intervals_cover(made_store) -> None:
    found = found_in(beside(made_store(failed=None, judge=False, timing=False), 1))
    assert "is taken to vary between trainings as the one beside it does" in found.trainings
    assert all(row.difference.trainings[0] == 1 for row in found.rows)
