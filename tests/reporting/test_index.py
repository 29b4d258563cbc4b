"""What is asked for, what is there, and what is named as failed or missing."""

from adakd.reporting.index import Gap, Method, index
from adakd.store.records import RunRecord, ScoreRecord, TaskRecord, TrainingRecord


def test_a_complete_run_has_no_gaps(made_store):
    order = index(made_store(failed=None))
    assert order.gaps() == ()
    assert [str(method) for method in order.methods[:5]] == [
        "teacher", "untrained", "sft", "forward_kl", "forward_kl + adakd",
    ]  # fmt: skip
    assert order.seeds == (10, 20, 30)
    assert [task.name for task in order.tasks] == ["dolly", "self-inst", "dolly-choice", "arc_easy"]


def test_arms_that_a_baseline_does_not_have_are_no_gaps(made_store):
    store = made_store(arms=("adakd", "egad"), failed=None)
    (run,) = store.of(RunRecord)
    cells = tuple(
        cell
        for cell in run.cells
        if cell.divergence in (None, "forward_kl") and cell.arm in ("plain", "egad")
    )
    store.add(run.model_copy(update={"cells": cells, "wanted": ()}))
    assert [str(method) for method, _ in index(store).expected[5::3]] == [
        "forward_kl", "forward_kl + egad",
    ]  # fmt: skip


def test_a_failed_cell_is_named_with_its_reason_and_step(made_store):
    (gap,) = index(made_store()).gaps()
    assert gap.what == "forward_kl + adakd, seed 30"
    assert gap.status == "failed"
    assert "not finite at step 18" in gap.reason
    assert "after 17 steps" in gap.reason


def test_a_cell_without_any_record_is_missing(made_store):
    store = made_store(failed=None, missing=("reverse_kl", "plain", 20))
    (gap,) = index(store).gaps()
    assert (gap.what, gap.status) == ("reverse_kl, seed 20", "missing")


def test_a_task_without_scores_is_missing_everywhere(made_store):
    store = made_store(failed=None)
    run = store.of(RunRecord)[0]
    piqa = TaskRecord(name="piqa", sort="task", metric="", title="")
    store.add(run.model_copy(update={"tasks": (*run.tasks, piqa)}))
    gaps = index(store).gaps()
    assert Gap("teacher", "missing", "not scored on piqa") in gaps
    assert len(gaps) == len(index(store).expected)


def test_a_success_after_a_failure_counts(made_store):
    store = made_store()
    order = index(store)
    failed = order.trainings[Method("distilled", "forward_kl", "adakd"), 30]
    store.add(failed.model_copy(update={"status": "done", "reason": None}))
    (gap,) = index(store).gaps()
    assert (gap.status, gap.reason.split()[:2]) == ("missing", ["not", "scored"])


def test_records_of_changed_settings_are_left_out_and_counted(made_store):
    store = made_store(failed=None)
    (run,) = store.of(RunRecord)
    old = store.of(TrainingRecord)[-1]
    cell = old.cell.model_copy(update={"key": "changed"})
    store.add(old.model_copy(update={"cell": cell, "key": "changed"}))
    others = tuple(key for key in run.wanted if not key.startswith(old.key))
    store.add(run.model_copy(update={"key": "run-2", "wanted": (*others, "changed")}))
    order = index(store)
    assert order.is_current(cell)
    assert not order.is_current(old.cell)
    assert order.superseded > 1
    assert [gap.status for gap in order.gaps()] == ["missing"]


def test_going_back_to_earlier_settings_brings_their_records_back(made_store):
    store = made_store(failed=None)
    (run,) = store.of(RunRecord)
    old = store.of(TrainingRecord)[-1]
    cell = old.cell.model_copy(update={"key": "changed"})
    store.add(old.model_copy(update={"cell": cell, "key": "changed"}))
    store.add(run.model_copy(update={"key": "run-2", "wanted": ("changed",)}))
    store.add(run.model_copy(update={"key": "run-3"}))
    order = index(store)
    assert order.is_current(old.cell)
    assert order.superseded == 1
    assert order.gaps() == ()


def test_without_a_run_record_the_records_say_what_there_is(made_store):
    order = index(made_store(run=False, failed=None))
    assert order.suite is None
    assert len(order.methods) == 9
    assert order.gaps() == ()


def test_a_suite_that_cannot_be_read_any_more_is_no_error(made_store):
    store = made_store(failed=None)
    run = store.of(RunRecord)[0]
    store.add(run.model_copy(update={"suite": {"name": "old", "gone": 1}}))
    order = index(store)
    assert (order.suite, len(order.methods)) == (None, 9)


def test_an_empty_folder_has_an_empty_index(tmp_path):
    from adakd.store import Store

    order = index(Store(tmp_path))
    assert (order.methods, order.tasks, order.gaps()) == ((), (), ())


# --- several metrics ------------------------------------------------------------------------


def test_a_column_for_each_task_and_metric(made_store):
    order = index(made_store(metrics=("rouge_l", "token_f1"), failed=None))
    assert [(task.name, task.title) for task in order.tasks] == [
        ("dolly", "ROUGE-L"), ("self-inst", "ROUGE-L"),
        ("dolly", "token F1"), ("self-inst", "token F1"),
        ("dolly-choice", "accuracy"), ("arc_easy", "acc_norm"),
    ]  # fmt: skip
    assert [task.title for task in order.sets] == ["ROUGE-L", "ROUGE-L"]
    assert order.metric == order.tasks[0]
    assert order.gaps() == ()


def test_the_first_metric_of_the_suite_is_the_first_here(made_store):
    order = index(made_store(metrics=("token_f1", "rouge_l"), failed=None))
    assert order.metric.title == "token F1"


def test_a_missing_metric_is_named(made_store):
    store = made_store(failed=None)
    (run,) = store.of(RunRecord)
    more = [task.model_copy(update={"metric": "m", "title": "mine"}) for task in run.tasks[:1]]
    store.add(run.model_copy(update={"tasks": (*run.tasks, *more)}))
    assert Gap("teacher", "missing", "not scored on dolly (mine)") in index(store).gaps()


def test_an_unknown_metric_has_the_scale_that_all_of_its_records_allow(made_store):
    store = made_store(failed=None)
    scores = [score for score in store.of(ScoreRecord) if score.task == "arc_easy"]
    for number in (0, -1):  # wherever the record with the larger values stands
        large = scores[number].model_copy(update={"scale": 1.0})
        store.add(large)
        assert [task.scale for task in index(store).tasks if task.name == "arc_easy"] == [1.0]
        store.add(scores[number])
