"""A cell costs as much in a large run as in a small one: counted in calls, not in seconds.

``tests/bench/growth.py`` measures seconds and memory up to 5,000 cells.
"""

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path

import growth
import pytest

from adakd.commands.plan import plan_table
from adakd.planning import plan
from adakd.reporting.report import Report
from adakd.store import Store


def calls(work: Callable[[], object]) -> int:
    """The calls of functions and methods, those of C too."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return pstats.Stats(profile).total_calls


def plans(cells: int) -> Callable[[], object]:
    def work() -> object:
        planned = plan(growth.suite(cells))
        return plan_table(planned), planned.keys, [planned.jobs_of(one) for one in planned.cells]

    return work


def test_a_plan_grows_with_its_cells() -> None:
    plans(10)()  # imports and caches
    few, many = (calls(plans(cells)) / cells for cells in (100, 400))
    assert many < 1.05 * few


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STEPS": 3, "ITEMS": 4, "SETS": 2, "SAMPLINGS": 2}.items():
        monkeypatch.setattr(growth, name, value)


def test_a_report_grows_with_its_cells(small: None, tmp_path: Path) -> None:
    def counted(cells: int) -> float:
        growth.write(cells, folder := tmp_path / str(cells))
        return calls(lambda: Report.of(Store(folder)).json) / cells

    counted(10)  # imports and caches
    few, many = counted(40), counted(160)
    assert many < 1.05 * few
