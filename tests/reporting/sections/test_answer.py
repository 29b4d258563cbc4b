"""The answer: the axes of the forest plots, and what many rows become."""

from dataclasses import replace

from adakd.reporting.families import arm_differences
from adakd.reporting.sections.answer import answer, by_unit, difference_axis, own_constants
from adakd.store.records import PartRecord, RunRecord


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


def test_many_rows_are_a_dense_plot_and_very_many_a_heat_table(mini):
    view = answer(mini)
    assert (view.is_dense, view.heat) == (False, None)
    some, many = (replace(view, overall=view.overall * times) for times in (3, 17))
    assert some.is_dense
    assert [len(half) for half in some.columns] == [5, 4]
    assert some.columns[0] + some.columns[1] == some.overall
    assert some.heat is None
    assert many.heat is not None
