"""Quality at equal time: scores by training seconds, and the plain steps of the overhead."""

from dataclasses import replace
from math import nan

import pytest

from adakd.reporting import render
from adakd.reporting.families import arm_differences
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.equal_time import EqualTime, conclusion, equal_times, sentence
from adakd.stats import Ratio
from adakd.store import Store
from adakd.store.records import RunRecord, TimedStep, TimingRecord


def rows_of(store: Store) -> dict[str, EqualTime]:
    return {str(row.plain.method): row for row in equal_times(Context.of(store))}


def with_step(store: Store, plain: float, adaptive: float, optimizer: float = 0.0) -> Store:
    """Let every interleaved pair take these seconds a micro-batch, and those an optimizer step."""
    for record in store.of(TimingRecord):
        pair = tuple(
            TimedStep(arm=arm, seconds={"loss": seconds, "optimizer": optimizer}, peak_bytes=None)
            for arm, seconds in (("plain", plain), (record.arm, adaptive))
        )
        store.add(record.model_copy(update={"pairs": (pair,) * 6}))
    return store


def with_accumulation(store: Store, batches: int) -> Store:
    run = store.of(RunRecord)[0]
    training = run.suite["training"] | {"gradient_accumulation": batches}
    store.add(run.model_copy(update={"suite": run.suite | {"training": training}}))
    return store


def test_seconds_are_those_of_a_step_times_the_steps(made_store):
    store = with_step(made_store(steps=60, longer=0.1), plain=1.0, adaptive=1.1, optimizer=0.5)
    row = rows_of(store)["reverse_kl"]
    assert row.longer is not None
    assert [one.steps for one in row.scored] == [60, 60, 66]
    assert [one.seconds for one in row.scored] == pytest.approx([90, 96, 99])
    assert row.overhead.estimate == pytest.approx(1.6 / 1.5)
    assert row.bought == 4
    assert row.given == pytest.approx(99 / 96 - 1)


def test_an_optimizer_step_has_several_micro_batches(made_store):
    store = with_step(made_store(steps=60), plain=1.0, adaptive=1.5, optimizer=1.0)
    row = rows_of(with_accumulation(store, 3))["reverse_kl"]
    assert (row.plain.seconds, row.adaptive.seconds) == (240, 330)
    assert row.overhead.estimate == pytest.approx(5.5 / 4)


def test_without_the_control_the_page_says_what_is_not_known_and_how_to_find_out(made_store):
    store = with_step(made_store(steps=60), plain=1.0, adaptive=1.084)
    row = rows_of(store)["reverse_kl"]
    assert row.longer is row.comparison is None
    assert sentence(row) == (
        "reverse_kl: AdaKD's overhead of 8.4 % (95 % 8.4 to 8.4) would have bought 5 more plain "
        "steps (at most 5) in addition to the 60; to see their effect, run the same command "
        "with --set controls.longer=0.09."
    )
    page = render(store)
    assert "--set controls.longer=0.09" in page
    assert "plain, trained for longer" not in page


def test_an_arm_without_overhead_leaves_nothing_to_buy(made_store):
    row = rows_of(with_step(made_store(), plain=1.0, adaptive=0.9))["reverse_kl"]
    assert row.bought == 0
    assert sentence(row).endswith("leaves no time for more plain steps.")
    store = with_step(made_store("longer", longer=0.1), plain=1.0, adaptive=0.9)
    said = sentence(rows_of(store)["reverse_kl"])
    assert "leaves no time for more plain steps. Plain with 6 more steps" in said
    assert said.endswith("better, though plain had 22.2 % more time.")


def test_the_longer_arm_is_compared_with_the_adaptive_one(made_store):
    store = with_step(made_store(longer=0.1, failed=None), plain=1.0, adaptive=1.1)
    rows = rows_of(store)
    words = {name: row.comparison.conclusion for name, row in rows.items()}
    assert words == {
        "forward_kl": "not separable",
        "reverse_kl": "better",
        "skew_reverse_kl(lam=0.1)": "worse",
    }
    row = rows["reverse_kl"]
    gain = row.adaptive.score - row.longer.score
    assert row.comparison.difference.estimate == pytest.approx(gain)
    assert row.comparison.difference.low > 0
    said = sentence(row)
    assert (
        "would have bought 6 more plain steps (at most 6). Plain with 6 more steps reaches" in said
    )
    assert said.endswith("better at equal time.")
    assert said in render(store).replace("&#39;", "'")


def test_a_longer_arm_as_good_as_the_adaptive_one_takes_its_gain_away(made_store):
    store = with_step(made_store(longer=0.1, longer_effect=0.045, failed=None), 1.0, 1.1)
    row = rows_of(store)["reverse_kl"]
    assert row.comparison.conclusion == "not separable"
    low, _ = row.longer.ends
    assert low > row.plain.score


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (66.0, "better at equal time"),
        (72.6, "better, though plain had 10.0 % more time"),
        (59.4, "better, but plain had 10.0 % less time"),
    ],
)
def test_a_verdict_says_how_equal_the_times_were(made_store, seconds: float, said: str) -> None:
    store = with_step(made_store(longer=0.1, failed=None), plain=1.0, adaptive=1.1)
    row = rows_of(store)["reverse_kl"]
    assert conclusion(replace(row, longer=replace(row.longer, seconds=seconds))) == said


def test_a_failed_or_missing_longer_arm_is_said(made_store):
    lacking = {"failed": None, "seeds": (10,), "missing": ("reverse_kl", "longer", 10)}
    store = made_store(longer=0.1, **lacking)
    row = rows_of(store)["reverse_kl"]
    assert row.longer is None
    assert "not trained" in sentence(row)
    assert "reverse_kl, 10 % longer, seed 10" in render(store)


def test_without_a_score_of_the_plain_arm_there_is_no_chart(made_store):
    store = made_store(failed=None, seeds=(10,), missing=("reverse_kl", "plain", 10))
    assert set(rows_of(store)) == {"forward_kl", "skew_reverse_kl(lam=0.1)"}
    store = made_store("unscored", failed=None, longer=0.1)
    row = rows_of(store)["reverse_kl"]
    assert len(row.scored) == 3
    assert replace(row, plain=replace(row.plain, score=None)).scored == ()


def test_several_arms_each_have_their_own_row(made_store):
    store = made_store(arms=("adakd", "other"), longer=0.1, failed=None)
    rows = equal_times(Context.of(store))
    assert [(row.adaptive.method.arm, str(row.longer.method)) for row in rows] == [
        (arm, f"{divergence}, 10 % longer")
        for divergence in ("forward_kl", "reverse_kl", "skew_reverse_kl(lam=0.1)")
        for arm in ("adakd", "other")
    ]
    assert "forward_kl + other: " in render(store)


def test_the_longer_arm_is_in_no_pair(made_store, mini):
    context = Context.of(made_store(longer=0.1))
    assert {method.longer for pair in context.index.pairs() for method in pair} == {0.0}
    assert arm_differences(context) == arm_differences(mini)


def test_what_an_uncertain_overhead_would_have_bought(made_store):
    store = with_step(made_store(steps=60, longer=0.1, failed=None), plain=1.0, adaptive=1.1)
    row = replace(rows_of(store)["reverse_kl"], overhead=Ratio(1.03, 0.98, 1.12, 10))
    row = replace(row, bought=2, bought_at_most=7)
    assert sentence(row).startswith(
        "reverse_kl: AdaKD's overhead of 3.0 % (95 % −2.0 to 12.0) is within noise; it would have "
        "bought 2 more plain steps, at most 7. Plain with 6 more steps reaches"
    )
    slower = replace(row, longer=replace(row.longer, seconds=70.0))
    assert conclusion(slower) == "better, though plain had 6.1 % more time, within noise"
    few = replace(row, overhead=Ratio(1.03, nan, nan, 4), bought_at_most=None)
    assert "3.0 % (no interval: it takes 6 pairs) would have bought 2 more plain steps." in (
        sentence(few)
    )


def test_seconds_of_the_arms_have_the_ratio_of_the_pairs(made_store):
    row = rows_of(made_store(longer=0.1, failed=None))["reverse_kl"]
    assert row.adaptive.seconds / row.plain.seconds == pytest.approx(row.overhead.estimate)
