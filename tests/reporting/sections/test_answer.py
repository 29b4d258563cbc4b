"""The answer: the sentences at the top, and the axes of the forest plots."""

from dataclasses import replace

import pytest

from adakd.reporting.families import arm_differences
from adakd.reporting.sections.answer import by_unit, difference_axis, headlines, own_constants
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.overhead import overheads
from adakd.store.records import PartRecord, RunRecord


def test_the_headline_names_every_word_and_the_cost(made_store):
    store = made_store()
    (line,) = headlines(arm_differences(Context.of(store)).overall, overheads(Context.of(store)))
    assert line.startswith(
        "AdaKD is better than plain distillation under 1 of 3 divergences. Better: reverse_kl. "
        "Worse: skew_reverse_kl(lam=0.1). Not separable: forward_kl. Its steps take 1.2"
    )


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("better", "AdaKD is better than plain distillation under reverse_kl."),
        ("worse", "AdaKD is worse than plain distillation under reverse_kl."),
        ("not separable", "AdaKD is not separable from plain distillation under reverse_kl."),
        ("failed", "AdaKD has no result (failed) under reverse_kl."),
    ],
)
def test_the_headline_of_one_divergence(made_store, word, said):
    found = arm_differences(Context.of(made_store(effects=(("reverse_kl", 0.05),))))
    rows = (replace(found.overall[0], conclusion=word),)
    assert headlines(rows, ()) == [said]


def test_arms_of_which_the_same_is_true_share_a_headline(made_store):
    store = made_store(arms=("adakd", "latf"), failed=None)
    found = arm_differences(Context.of(store))
    (line,) = headlines(found.overall, overheads(Context.of(store)))
    assert line.startswith("AdaKD and latf are better than plain distillation under 1 of 3")
    assert " Their steps take 1.2" in line
    assert line.endswith(", mean of 6).")
    rows = tuple(
        replace(row, conclusion="worse" if row.arm == "latf" else row.conclusion)
        for row in found.overall
    )
    first, second = headlines(rows, ())
    assert first.startswith("AdaKD is better than plain distillation under 1 of 3")
    assert second == (
        "latf is better than plain distillation under 0 of 3 divergences. Worse: all."
    )


def test_arms_of_one_divergence_share_a_headline(made_store):
    arms = ("adakd", "idts", "latf")
    found = arm_differences(Context.of(made_store(arms=arms, effects=(("reverse_kl", 0.05),))))
    words = {"adakd": "not separable", "idts": "better", "latf": "not separable"}
    rows = tuple(replace(row, conclusion=words[row.arm]) for row in found.overall)
    assert headlines(rows, ()) == [
        "AdaKD and latf are not separable from plain distillation under reverse_kl.",
        "idts is better than plain distillation under reverse_kl.",
    ]


def test_constants_without_a_source_are_named():
    def part(of, name, ours):
        return PartRecord(of=of, sort="adaptive method", name=name, settings={}, ours=ours)

    parts = (part("adakd", "adakd", ()), part("egad", "egad", ("c", "base")))
    run = RunRecord(
        key="1", started="", command="", suite={}, suite_digest="", parts=parts, wanted=(),
        versions={}, hardware={}, commit=None,
    )  # fmt: skip
    (line,) = own_constants(run)
    assert line.startswith("egad: the values of egad's c and base are adakd's own choice")
    assert list(own_constants(None)) == []
    own = run.model_copy(update={"parts": (), "suite": {"ours": ["training.epochs", "seeds"]}})
    (line,) = own_constants(own)
    assert line.startswith("training.epochs and seeds of the suite are adakd's own choice")


def test_rows_of_tasks_keep_the_order_of_the_suite(mini):
    groups = by_unit(arm_differences(mini).tasks)
    assert {unit: [name for name, _ in tasks] for unit, tasks in groups} == {
        "ROUGE-L × 100": ["dolly", "self-inst"],
        "accuracy × 100": ["dolly-choice"],
        "acc_norm × 100": ["arc_easy"],
    }


def test_one_endless_interval_does_not_flatten_the_others(mini):
    row = arm_differences(mini).overall[1]
    wide = replace(row, difference=replace(row.difference, low=-900.0, high=900.0))
    axis = difference_axis([row, wide])
    assert -50 < axis.low < 0 < axis.high < 50
