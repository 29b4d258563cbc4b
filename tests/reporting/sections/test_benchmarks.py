"""The benchmarks of a run folder on its page."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from adakd.benchmarks import FILE, Bench, Line, read_bench, write_bench
from adakd.errors import AdakdError
from adakd.reporting import bench_table, render, write_report
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.benchmarks import Row, benchmarks

FASTER = Line(
    what="a loss", reference="another", measure="times faster", value=6.123, goal=5, met=True
)
DEARER = Line(
    what="a step", reference="a plain step", measure="times the plain step", value=1.2,
    goal=1.1, more_is_better=False, met=False,
)  # fmt: skip
BARE = Line(what="<b>x</b>", reference="[red]y", measure="of the memory", value=0.25)


def found(*lines: Line, **changes: Any) -> Bench:
    stats = {"min": 0.1, "median": 0.2, "iqr": 0.01, "rounds": 5}
    content = {
        "datetime": "2026-02-03T04:05:06+00:00",
        "machine_info": {"processor": "made up", "cores": "2", "memory": "16 GiB"},
        "versions": {"adakd": "0.1.0", "torch": "2.13.0"},
        "commit": "89abcdef01234567",
        "others": 0.01,
        "environment": {},
        "expression": None,
        "benchmarks": [
            {
                "name": f"test_{number}",
                "group": "Losses",
                "stats": stats,
                "extra_info": {"rows": [line.model_dump()], "more": {"ours": 0.2}},
            }
            for number, line in enumerate(lines)
        ],
    }
    return Bench.model_validate(content | changes)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    bench = found(FASTER, DEARER, BARE, failed=["test_9"])
    write_bench(bench, tmp_path / FILE)
    assert read_bench(tmp_path / FILE) == bench
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_a_page_with_benchmarks_names_the_machine_and_counts_goals(made_store) -> None:
    store = made_store()
    assert benchmarks(Context.of(store)) is None
    write_bench(found(FASTER, DEARER, BARE, failed=["test_9"]), store.folder / FILE)
    page = render(store)
    assert "Against the reference implementations, on made up, 2 cores, 16 GiB" in page
    assert "1 of 2 goals met" in page
    assert "test_9" in page
    assert "6.12× faster" in page
    assert "<b>x</b>" not in page
    summary = benchmarks(Context.of(store))
    assert summary is not None
    assert (summary.met, summary.goals) == (1, 2)


def test_other_load_is_a_warning(made_store) -> None:
    store = made_store(timing=False, judge=False, examples=False)
    for others, warned in ((None, False), (0.05, False), (0.38, True)):
        bench = found(FASTER, others=others)
        write_bench(bench, store.folder / FILE)
        warning = benchmarks(Context.of(store)).warning
        assert warning.startswith("Other programs took 38 % of the processor") is warned
        assert ("measure again" in str(bench_table(bench).caption)) is warned


def test_goals_and_values_as_they_are_written() -> None:
    assert [Row(line).goal for line in (FASTER, DEARER, BARE)] == ["≥ 5", "≤ 1.1", ""]
    assert [Row(line).measured for line in (FASTER, DEARER, BARE)] == [
        "6.12× faster",
        "1.20× the plain step",
        "0.25 of the memory",
    ]


def test_the_terminal_shows_every_line() -> None:
    console = Console(width=150)
    with console.capture() as shown:
        console.print(bench_table(found(FASTER, DEARER, BARE)))
    text = shown.get()
    for part in ("6.12× faster", "≥ 5", "met", "missed", "[red]y", "<b>x</b>"):
        assert part in text


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"benchmarks": []}', json.dumps({"machine_info": {"node": "host"}})],
)
def test_a_broken_file_is_one_error_that_names_it(made_store, content: str) -> None:
    store = made_store(timing=False)
    (store.folder / FILE).write_text(content)
    with pytest.raises(AdakdError, match=r"bench\.json: not written by `adakd bench`"):
        write_report(store.folder)
