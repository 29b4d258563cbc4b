"""Overhead: ratios, phases and memory by hand."""

from dataclasses import replace
from math import nan

import pytest

from adakd.reporting.sections.base import Context
from adakd.reporting.sections.overhead import cost_sentence, overhead, overheads
from adakd.stats import Ratio
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
            pairs=((steps[0], steps[1]),) * 6,
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
        "reverse_kl: the AdaKD step takes 1.21× a plain step "
        "(95 % 1.19–1.22, n = 10 interleaved pairs), peak memory 1.20×."
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


def test_a_ratio_that_may_be_1_is_within_noise(mini):
    row = replace(overheads(mini)[1], ratio=Ratio(1.07, 0.98, 1.19, 10), peak_plain=None)
    assert row.sentence.endswith(
        "1.07× a plain step (95 % 0.98–1.19, n = 10 interleaved pairs): within noise."
    )
    few = replace(row, ratio=Ratio(1.07, nan, nan, 4))
    assert "1.07× a plain step (no interval: it takes 6 pairs, n = 4" in few.sentence
    assert "within noise" not in few.sentence


def test_the_cost_in_one_sentence_has_an_interval(mini):
    row = overheads(mini)[1]
    clear, unclear = (replace(row, ratio=Ratio(1.1, low, 1.2, 10)) for low in (1.05, 0.98))
    assert cost_sentence([]) == ""
    assert cost_sentence([clear]) == "Its steps take 1.10× as long (95 % 1.05–1.20)."
    assert cost_sentence([unclear]) == (
        "Its steps take as long, within noise: 1.10× (95 % 0.98–1.20)."
    )
    # the mean of two has an interval narrower by the square root of two, on the log scale,
    # and by the ratio of Student's t with 18 and 9 degrees of freedom
    assert cost_sentence([clear, replace(clear, arm="other")]) == (
        "Their steps take 1.10× as long (95 % 1.07–1.16, mean of 2)."
    )


def test_pairs_of_one_batch_are_compared_with_each_other(made_store):
    """Batches differ tenfold and the arms by 2 %: medians of each arm alone would not tell."""
    store = made_store("batches", timing=False, run=False)
    seconds = (0.1, 1.0, 0.2, 0.9, 0.3, 0.8, 0.4, 0.7, 0.5, 0.6)
    pairs = tuple(
        tuple(
            TimedStep(arm=arm, seconds={"loss": of * length}, peak_bytes=None)
            for arm, of in (("plain", 1.0), ("adakd", 1.02 + 0.001 * number))
        )
        for number, length in enumerate(seconds)
    )
    store.add(
        TimingRecord(key="t", divergence="a", arm="adakd", device="cpu", tokens=5, pairs=pairs)
    )
    (row,) = overheads(Context.of(store))
    assert 1.02 <= row.ratio.low < row.ratio.estimate < row.ratio.high <= 1.03
