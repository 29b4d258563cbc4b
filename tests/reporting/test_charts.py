"""Overhead, curves, samples, charts and the writing of numbers."""

import math
from xml.etree import ElementTree

import pytest

from adakd.reporting import charts, formatting
from adakd.reporting.index import index
from adakd.reporting.sections.answer_texts import looks, repeats
from adakd.reporting.sections.curves import curves, thinned
from adakd.reporting.sections.overhead import overheads
from adakd.reporting.sections.provenance import trainings
from adakd.reporting.sections.samples import PER_TASK, examples
from adakd.stats import Ratio
from adakd.store.records import (
    ExampleRecord,
    ScoreRecord,
    Step,
    TimedStep,
    TimingRecord,
    VerdictRecord,
)

# --- overhead -------------------------------------------------------------------------------


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
    (row,) = overheads(store)
    assert row.ratio.estimate == pytest.approx(1.5)
    assert (row.plain, row.adaptive) == (pytest.approx(200), pytest.approx(300))
    by_phase = {phase.phase: phase.ratio for phase in row.phases}
    assert by_phase["loss"].estimate == pytest.approx(2)
    shares = {phase.phase: (phase.plain_share, phase.adaptive_share) for phase in row.phases}
    assert shares["loss"] == pytest.approx((1 / 2, 2 / 3))
    assert set(by_phase) == {"loss", "backward"}  # those that happened
    assert (row.peak_plain, row.peak_adaptive) == (100, 150)


# --- curves ---------------------------------------------------------------------------------


def step(number, loss):
    return Step(
        step=number, loss=loss, learning_rate=0, grad_norm=0, kept_ratio=1, temperature=1,
        seconds={},
    )  # fmt: skip


def test_long_trainings_are_averaged_over_stretches():
    steps = [step(number, float(number)) for number in range(1, 1001)]
    points = thinned(steps, lambda s: s.loss, most=100)
    assert len(points) == 100
    assert points[0] == (5.5, 5.5)


def test_values_that_are_not_finite_are_left_out():
    steps = [step(1, 1.0), step(2, math.nan), step(3, math.inf)]
    assert thinned(steps, lambda s: s.loss) == ((1, 1.0),)


def test_every_divergence_has_three_charts_of_both_arms(made_store):
    groups = curves(index(made_store()))
    assert [group.name for group in groups][-1] == "sft"
    assert [len(group.charts) for group in groups] == [3, 3, 3, 1]
    assert len(groups[0].charts[0].lines) == 6


def test_of_many_arms_each_has_charts_with_the_plain_arm(made_store):
    arms = ("adakd", "idts", "latf", "ctkd", "egad")
    store = made_store(arms=arms, effects=(("reverse_kl", 0.0),), failed=None)
    *groups, sft = curves(index(store))
    assert [group.name for group in groups] == [f"reverse_kl + {arm}" for arm in arms]
    for group, arm in zip(groups, arms, strict=True):
        assert {line.arm for line in group.charts[0].lines} == {"plain", arm}
    assert sft.name == "sft"


# --- samples --------------------------------------------------------------------------------


def test_samples_show_every_method_side_by_side(made_store):
    store = made_store(failed=None)
    found = examples(store, index(store), store.of(VerdictRecord))
    assert len(found) == 2 * min(3, PER_TASK)
    assert [str(reply.method) for reply in found[0].controls] == ["teacher", "untrained", "sft"]
    assert [name for name, _ in found[0].by_divergence][1] == "reverse_kl"
    plain, adaptive = found[0].by_divergence[1][1]
    assert plain.text is not None
    assert adaptive.verdicts[0].startswith("rule against plain, shown first: ")


def test_an_item_whose_text_was_kept_twice_is_one_example(made_store):
    store = made_store(failed=None)
    (first, *_) = store.of(ExampleRecord)
    before = examples(store, index(store), ())
    store.add(first.model_copy(update={"key": "again", "reference": "another"}))
    assert examples(store, index(store), ()) == before


def test_verdicts_beside_an_answer_are_of_that_answer_in_whatever_order_they_came(made_store):
    store = made_store(failed=None, judge=False)
    (shown, *_) = store.of(ExampleRecord)
    scores = [s for s in store.of(ScoreRecord) if s.cell.arm == "adakd" and s.task == shown.task]
    for score in reversed(scores):  # the seeds that are not shown come first
        store.add(
            VerdictRecord(
                key=f"verdict-{score.key}",
                judge="rule@0123abcd",
                against="plain",
                candidate=score.cell,
                opponent=None,
                task=score.task,
                item=shown.item,
                sampling_seed=score.sampling_seed,
                candidate_first=True,
                words=score.key,
                verdict="tie",
                reason=score.key,
                seconds=0.0,
            )
        )
    (example, *_) = examples(store, index(store), store.of(VerdictRecord))
    first = [s for s in scores if s.cell.seed == scores[0].cell.seed]
    mine = {s.cell.divergence: s.key for s in reversed(first)}
    for name, (_, adaptive) in example.by_divergence:
        assert adaptive.verdicts == (f"rule against plain, shown first: tie: {mine[name]}",)


# --- charts and numbers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "ticks", "digits"),
    [
        ([0, 100], (0, 25, 50, 75, 100), 0),
        ([-0.2, 0.31], (-0.2, 0, 0.2, 0.4), 1),
        ([3, 3], (2.5, 2.75, 3.0, 3.25, 3.5), 2),
        ([], (0, 0.25, 0.5, 0.75, 1), 2),
        ([0.9991, 1.0012], (0.999, 1, 1.001, 1.002), 3),
    ],
)
def test_ticks_are_round_and_hold_the_values(values, ticks, digits):
    axis = charts.scale(values)
    assert axis.ticks == pytest.approx(ticks)
    assert axis.digits == digits


def test_an_unknown_interval_is_not_drawn_and_a_long_one_has_arrows():
    axis = charts.scale([-1, 1])
    unknown = charts.forest_row(axis, 0.5, (math.nan, math.nan), kind="flat", title="t")
    assert 'class="interval"' not in unknown
    long = charts.forest_row(axis, 0.5, (-9, 9), kind="flat", title="t")
    assert long.count('class="beyond"') == 2


def test_points_stand_where_they_belong_with_their_intervals():
    marks = [
        charts.Mark("s0", "<b>", 10.0, 2.0),
        charts.Mark("s1", "on", 12.0, 3.0, (2.5, 3.5)),
        charts.Mark("longer", "more", 11.0, 1.0),
    ]
    drawn = ElementTree.fromstring(charts.point_chart(marks, "seconds", "<i>"))
    dots = [node for node in drawn if node.tag == "circle"]
    assert [dot[0].text for dot in dots] == ["<b>", "on", "more"]
    across, down = ([float(dot.get(axis)) for dot in dots] for axis in ("cx", "cy"))
    assert across[0] < across[2] < across[1]
    assert down[1] < down[0] < down[2]
    (whisker,) = (node for node in drawn if "whisker" in node.get("class", ""))
    assert float(whisker.get("y2")) < down[1] < float(whisker.get("y1"))
    assert charts.point_chart(marks[:1], "seconds", "one")


def test_charts_are_well_formed_and_escape_their_text():
    hostile = "<script>&\"'</script>"
    axis = charts.scale([0, 1])
    drawn = [
        charts.forest_row(axis, 0.5, (0, 1), kind="flat", title=hostile, points=(0.1,), band=0.1),
        charts.forest_axis(axis, label=hostile),
        charts.stacked_bar([("win", hostile, 3), ("loss", "b", 0)], hostile),
        charts.stacked_bar([("win", "a", 0)], "nothing to show"),
    ]
    for chart in drawn:
        ElementTree.fromstring(chart)
        assert "<script" not in chart


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formatting.number(-0.001), "0.00"),
        (formatting.number(-1234.5, 1), "−1,234.5"),
        (formatting.number(math.nan), "–"),
        (formatting.number(None), "–"),
        (formatting.signed(0.0), "0.00"),
        (formatting.signed(1.5), "+1.50"),
        (formatting.signed(-1.5), "−1.50"),
        (formatting.interval(-0.12, 0.34), "−0.12 to +0.34"),
        (formatting.percent(0.5), "50 %"),
        (formatting.percent(None), "–"),
        (formatting.ratio(Ratio(1.32, 1.28, 1.37, 10)), "1.32× (95 % 1.28–1.37)"),
        (formatting.p_value(0.00001), "< 0.001"),
        (formatting.p_value(0.0312), "0.031"),
        (formatting.p_value(None), "–"),
        (formatting.size(3 * 2**20), "3 MiB"),
        (formatting.size(3 * 2**30), "3.00 GiB"),
        (formatting.size(None), "–"),
        (formatting.shares(Ratio(0.62, 0.514, 0.7191, 9)), "51–72 %"),
        (formatting.shares(Ratio(0.62, 0.514, 0.7191, 9), 1), "51.4–71.9 %"),
        (formatting.money(1.239, "USD"), "1.24 USD"),
        (formatting.money(0.00421, "USD"), "0.0042 USD"),
        (formatting.money(0, "USD"), "0.00 USD"),
        (formatting.money(None, "USD"), "–"),
        (formatting.seconds(12.34), "12.3"),
        (formatting.seconds(0.5), "0.50"),
        (formatting.seconds(0.0042), "0.0042"),
        (formatting.duration(119.96), "120.0 s"),
        (formatting.duration(600), "10.0 min"),
        (formatting.duration(9000), "2.5 h"),
        (formatting.counted(1, "seed"), "1 seed"),
        (formatting.counted(1200, "seed"), "1,200 seeds"),
    ],
)
def test_numbers_are_written_in_one_way(written, expected):
    assert written == expected


def test_answers_that_say_nothing_or_the_same_are_counted(made_store):
    assert repeats(["la"] * 20)
    assert not repeats(["la"] * 19)
    assert not repeats(list("abcdefghijklmnopqrstuvw"))
    store = made_store(text="")
    assert {look.empty for look in looks(index(store))} == {0}
    store = made_store("empty", text=" \n")
    assert {(look.empty, look.median_words) for look in looks(index(store))} == {(1, 0)}


def test_trainings_count_failed_seeds_by_themselves(made_store):
    found = {str(one.method): one for one in trainings(index(made_store()))}
    assert "teacher" not in found
    one = found["forward_kl + adakd"]
    assert (one.done, one.failed, one.steps, one.left_out) == (2, 1, 60, 3)
