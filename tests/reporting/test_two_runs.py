"""Two runs of one suite held against each other: what is equal, what is noise, what is more."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adakd.commands.compare import compare
from adakd.planning import Cell
from adakd.reporting.two_runs import TwoRuns
from adakd.stats import distances, seed_noise
from tests.store.made_runs import made_run, share

SEEDS = {"seeds": [1, 2, 3]}
FIRST, SECOND = {"processor": "a first machine"}, {"processor": "a second machine"}


def value(cell: Cell, item: int) -> float:
    """Trainings differ by their seed: the mean over 6 items is .525, .575 and .675 or so."""
    by_seed = {1: 0.0, 2: 0.05, 3: 0.15} if cell.role == "distilled" else {}
    return 0.5 + 0.01 * item + by_seed.get(cell.seed, 0.0)


@pytest.fixture
def held(tmp_path: Path, make_suite: Callable[..., Any]) -> Callable[..., TwoRuns]:
    """Compare a run with another one, each with its changes and values."""

    def hold(
        ours: dict[str, Any], theirs: dict[str, Any], shifted: Any = value, **of_second: Any
    ) -> TwoRuns:
        made_run(tmp_path / "a", make_suite(ours), value, FIRST)
        made_run(tmp_path / "b", make_suite(theirs), shifted, SECOND, **of_second)
        return compare(tmp_path / "a", tmp_path / "b")

    return hold


def test_a_run_equals_itself(tmp_path: Path, make_suite) -> None:
    made_run(tmp_path / "a", make_suite(SEEDS), value)
    found = compare(tmp_path / "a", tmp_path / "a")
    assert {row.verdict for row in found.scores} == {"equal"}
    assert {cell.weights for cell in found.cells} <= {"equal", "unknown", "untrained"}
    assert all(cell.same_key and not cell.parted for cell in found.cells)
    assert (found.means, found.provenance, found.only) == ((), (), ((), ()))


def test_the_machine_and_the_settings_that_differ_are_named(held) -> None:
    found = held({}, {"training.steps": 5, "divergences": ["forward_kl"]})
    fields = {one.field: (one.first, one.second) for one in found.provenance}
    assert fields["hardware.processor"] == ("a first machine", "a second machine")
    assert fields["suite.training.steps"] == ("4", "5")
    assert not any(field.startswith("versions") for field in fields)
    assert found.only == (
        ("reverse_kl, seed 1", "reverse_kl + adakd, seed 1"),
        ("forward_kl, seed 1", "forward_kl + adakd, seed 1"),
    )


@pytest.mark.parametrize("shift", [0.05, 0.4])
def test_a_difference_is_held_against_the_distance_of_seeds(held, shift: float) -> None:
    def shifted(cell: Cell, item: int) -> float:
        is_one = cell.arm == "adakd" and cell.seed == 2
        return value(cell, item) + shift * is_one

    found = held(SEEDS, SEEDS, shifted)
    by_chance = seed_noise([distances({1: 0.0, 2: 5.0, 3: 15.0})] * 2)
    assert by_chance is not None
    rows = {row.cell: row for row in found.scores if row.task == "puzzles"}
    moved = rows.pop("reverse_kl + adakd, seed 2")
    assert {row.verdict for row in rows.values()} == {"equal"}
    assert moved.difference == pytest.approx(100 * shift)
    assert moved.verdict == ("within noise" if 100 * shift < by_chance.band(1) else "beyond noise")
    # sft differs by its seeds not at all: its trainings tell of no distance, and are among them
    assert moved.band is not None
    assert moved.band < by_chance.band(1)


def test_a_shift_of_all_cells_shows_in_their_mean_before_it_does_in_one(held) -> None:
    def shifted(cell: Cell, item: int) -> float:
        return value(cell, item) + 0.15

    found = held(SEEDS, SEEDS, shifted)
    mean = next(row for row in found.means if row.task == "puzzles")
    trained = [row for row in found.scores if row.task == "puzzles" and row.noise == "training"]
    assert {row.verdict for row in trained} == {"within noise"}
    assert (mean.verdict, len(trained)) == ("beyond noise", 9)
    assert mean.band == pytest.approx(trained[0].band / 3)
    assert any("All trained cells together moved on puzzles" in one for one in found.sentences)


def test_other_seeds_are_paired_in_their_order(held) -> None:
    found = held({"seeds": [1, 2]}, {"seeds": [7, 8]})
    pairs = {cell.seeds for cell in found.cells if cell.method == "reverse_kl"}
    assert pairs == {(1, 7), (2, 8)}
    assert not any(cell.same_key for cell in found.cells if cell.method == "reverse_kl")


def test_with_one_seed_the_noise_is_that_of_the_items(held) -> None:
    found = held({}, {}, lambda cell, item: value(cell, item) + 0.1 * (-1) ** item)
    row = next(row for row in found.scores if row.cell == "reverse_kl, seed 1")
    assert (row.noise, row.verdict, row.difference) == ("items", "within noise", pytest.approx(0))
    assert any("the noise is that of the items" in sentence for sentence in found.sentences)


def test_other_weights_are_told_apart_from_other_scores(held) -> None:
    found = held({}, {}, files={"model.safetensors": "other", "config.json": "x"})
    assert {row.verdict for row in found.scores} == {"equal"}
    cell = next(cell for cell in found.cells if cell.method == "reverse_kl")
    assert (cell.same_key, cell.weights) == (True, "different")


@pytest.mark.parametrize("format", ["table", "markdown", "json"])
def test_the_command_ends_well_whatever_differs(
    format: str, tmp_path: Path, make_suite, command_line
) -> None:
    made_run(tmp_path / "a", make_suite(), share, FIRST)
    made_run(tmp_path / "b", make_suite({"seeds": [2]}), share, SECOND)
    done = command_line("compare", tmp_path / "a", tmp_path / "b", "--format", format)
    assert (done.code, done.err) == (0, "")
    assert re.search(r"a\s+first\s+machine", done.out)
    if format == "json":
        assert json.loads(done.out)["provenance"][0]["field"] == "hardware.processor"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("a", "none"), "no records here"), (("a", "a", "--format", "yaml"), "--format: 'yaml'")],
    ids=str,
)
def test_bad_input_is_one_line(
    arguments, said, tmp_path: Path, make_suite, command_line, monkeypatch
) -> None:
    made_run(tmp_path / "a", make_suite())
    monkeypatch.chdir(tmp_path)
    done = command_line("compare", *arguments)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
