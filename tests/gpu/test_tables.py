"""The measuring of the device benchmarks, and the Markdown that is made of their results."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Find the scripts, which are no package, as if one of them was run."""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    yield
    for name in ("device_timing", "bench_loss", "bench_step", "bench_decode", "tables"):
        sys.modules.pop(name, None)


def test_a_row_that_fails_is_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from device_timing import Device, Results

    results = Results(tmp_path / "new" / "loss.json", Device("cpu"), seconds=100)
    results.add(lambda: {"milliseconds": 2.0}, side="ours")
    results.add(lambda: {"milliseconds": 1 / 0}, side="theirs")
    results.add(lambda: {"milliseconds": 1.0}, needs=1000, side="slow")
    written = json.loads(results.file.read_text())
    first, second, third = written["rows"]
    assert written["card"] == "CPU"
    assert (first["side"], first["milliseconds"]) == ("ours", 2.0)
    assert second["error"].startswith("ZeroDivisionError")
    assert third["error"] == "not measured: the time was over"


def test_time_is_that_of_the_median_step() -> None:
    from device_timing import spread

    found = spread([0.3, 0.001, 0.002, 0.003, 0.002])
    assert found["milliseconds"] == pytest.approx(2.0)
    assert found["quartile_low"] <= found["milliseconds"] <= found["quartile_high"]


def test_our_own_kernels_come_first_and_every_row_once() -> None:
    from bench_loss import LOSSES, SIZES, plan

    rows = [(vocabulary, source, loss, side) for vocabulary, source, loss, side, _ in plan(SIZES)]
    assert len(set(rows)) == len(rows)
    ours = [number for number, row in enumerate(rows) if row[3].startswith("triton")]
    assert ours == list(range(len(ours)))
    assert {row[:3] for row in rows} == {
        (vocabulary, source, loss)
        for vocabulary in SIZES
        for source in ("logits", "hidden states")
        for loss in LOSSES
    }


def test_tables(tmp_path: Path) -> None:
    from tables import tables

    what = {"tokens": 4096, "vocabulary": 152_000, "from": "logits", "loss": "reverse_kl"}
    ours = what | {"side": "triton", "milliseconds": 2.5, "peak_in_logits": 1.0}
    kernel = {"vocabulary": 152_000, "kernel": "best launch", "entries": 4096, "warps": 16}
    late = [
        kernel,
        ours | {"share_of_bandwidth": 0.8},
        what | {"side": "lean", "error": "OutOfMemoryError: CUDA out of memory."},
        what | {"side": "liger", "error": "not measured: the time was over"},
        what | {"side": "torch", "error": "not measured: the time was over"},
    ]
    early = [
        ours | {"milliseconds": 9.0},
        what | {"side": "torch", "milliseconds": 30.0},
        what | {"side": "lean", "loss": "forward_kl", "milliseconds": 7.0},
    ]
    head = {"card": "a card", "driver": "1.2", "versions": {"torch": "2.11", "triton": None}}
    for name, rows, time in (("loss", late, "2"), ("loss-first", early, "1")):
        run = head | {"datetime": time, "rows": rows}
        (tmp_path / f"{name}.json").write_text(json.dumps(run))
    made = "\n".join(tables(tmp_path))
    assert made.count("a card, driver 1.2, torch 2.11\n") == 1
    assert "| | triton | torch | lean |" in made  # and no column for what has no value
    line = "reverse_kl, 4,096 × 152,000 | 2.50 ms, 1.00, 80% | 30.00 ms | out of memory |"
    assert line in made
    assert "forward_kl, 4,096 × 152,000 | not measured | not measured | 7.00 ms |" in made


def test_the_page_has_the_tables_of_what_is_published() -> None:
    from tables import tables

    root = Path(__file__).parents[2]
    page = (root / "docs" / "performance.md").read_text(encoding="utf-8").splitlines()
    for line in tables(root / "reports" / "benchmarks" / "h200"):
        if "|" in line:
            assert line.strip() in page
