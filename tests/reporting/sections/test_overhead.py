"""Overhead: ratios, phases and memory by hand."""

from dataclasses import replace

import pytest

from adakd.reporting.sections.base import Context
from adakd.reporting.sections.overhead import overhead, overheads
from adakd.store.records import TimedStep, TimingRecord


def test_overhead_by_hand(tmp_path, made_store):
    store = made_store("empty", timing=False, run=False)
    steps = [
        TimedStep(arm=arm, seconds={"loss": loss, "backward": 0.1}, peak_bytes=peak)
        for arm, loss, peak in (("plain", 0.1, 100), ("adakd", 0.2, 150))
    ]
    store.add(
        TimingRecord(
            key="t", divergence="a", arm="adakd", device="cpu", tokens=5,
            pairs=((steps[0], steps[1]),) * 3,
        )
    )  # fmt: skip
    (row,) = overheads(Context.of(store))
    assert row.ratio.estimate == pytest.approx(1.5)
    assert (row.plain, row.adaptive) == (pytest.approx(200), pytest.approx(300))
    by_phase = {phase.phase: phase.ratio for phase in row.phases}
    assert by_phase["loss"].estimate == pytest.approx(2)
    shares = {phase.phase: (phase.plain_share, phase.adaptive_share) for phase in row.phases}
    assert shares["loss"] == pytest.approx((1 / 2, 2 / 3))
    assert set(by_phase) == {"loss", "backward"}  # those that happened
    assert (row.peak_plain, row.peak_adaptive) == (100, 150)


def test_overhead_in_one_sentence(mini):
    row = overheads(mini)[1]
    assert row.sentence == (
        "reverse_kl: the AdaKD step takes 1.20× a plain step "
        "(95 % 1.18–1.22, n = 10 interleaved pairs), peak memory 1.20×."
    )
    assert replace(row, peak_plain=None).sentence.endswith("interleaved pairs).")


def test_of_many_comparisons_the_first_are_drawn_in_full(made_store, page_of):
    arms = tuple(f"arm-{number}" for number in range(20))
    made = {"arms": arms, "effects": (("reverse_kl", 0.01),), "items": 2, "seeds": (10,)}
    store = made_store(judge=False, examples=False, failed=None, **made)
    page = page_of(store)
    view = overhead(Context.of(store))
    assert not view.has_points
    assert len(view.rows) == 20
    assert len(view.in_phases) == page.text.count("phase by phase") * 12
    assert "The first 12 of 20 comparisons" in page.text
