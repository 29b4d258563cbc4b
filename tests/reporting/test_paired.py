"""Paired differences: the values behind them, and the words that come out."""

import pytest

from adakd.reporting.families import arm_differences
from adakd.reporting.sections.base import Context
from adakd.store.records import Item, ScoreRecord


def alone(difference):
    """Return what does not depend on the family."""
    return difference.estimate, difference.low, difference.high, difference.p_value


def test_words_find_the_effects_that_were_put_in(made_store):
    found = arm_differences(Context.of(made_store()))
    assert {row.divergence: row.conclusion for row in found.overall} == {
        "forward_kl": "not separable",
        "reverse_kl": "better",
        "skew_reverse_kl(lam=0.1)": "worse",
    }
    assert len(found.tasks) == 3 * 4
    assert found.noise is not None


def test_the_same_scores_in_both_arms_are_not_separable(made_store):
    store = made_store(failed=None)
    plain = [s for s in store.of(ScoreRecord) if s.cell.arm == "plain" and s.cell.divergence]
    for score in plain:
        twin = next(
            s
            for s in store.of(ScoreRecord)
            if s.cell == s.cell.model_copy(update={"arm": "adakd"})
            and (s.cell.divergence, s.cell.seed) == (score.cell.divergence, score.cell.seed)
            and (s.task, s.sampling_seed) == (score.task, score.sampling_seed)
        )
        store.add(twin.model_copy(update={"items": score.items, "value": score.value}))
    rows = arm_differences(Context.of(store))
    assert {row.conclusion for row in (*rows.overall, *rows.tasks)} == {"not separable"}
    assert {row.difference.estimate for row in rows.overall if row.difference} == {0}
    assert all("same score on every item" in row.note for row in rows.overall)


def test_numbers_are_in_the_unit_of_the_page(made_store):
    row = arm_differences(Context.of(made_store(seeds=(10,), failed=None))).overall[1]
    assert row.unit == "ROUGE-L × 100"
    assert row.difference is not None
    assert 3 < row.difference.estimate < 6
    assert row.difference.n_seeds == 1


def test_a_failed_seed_leaves_the_others(made_store):
    row = arm_differences(Context.of(made_store())).overall[0]
    assert row.difference is not None
    assert row.difference.n_seeds == 2
    assert row.note == "2 of 3 training seeds"


@pytest.mark.parametrize(("what", "word"), [("failed", "failed"), ("missing", "missing")])
def test_an_arm_that_is_not_there_is_named(made_store, what, word):
    place = {"failed": None, what: ("reverse_kl", "adakd", 10)}
    row = arm_differences(Context.of(made_store(seeds=(10,), **place))).overall[1]
    assert (row.conclusion, row.difference, row.adjusted_p) == (word, None, None)
    assert row.note


def test_an_item_counts_only_where_both_arms_have_it(made_store):
    store = made_store(seeds=(10,), samplings=(1,), sets=("dolly",), failed=None)
    for score in store.of(ScoreRecord):
        if score.cell.arm == "adakd" and score.task == "dolly":
            items = (*(Item(id=i.id, value=None) for i in score.items[:15]), *score.items[15:])
            store.add(score.model_copy(update={"items": items}))
    row = arm_differences(Context.of(store)).overall[0]
    assert row.difference is not None
    assert row.difference.n_items == 25


def test_sampling_seeds_are_averaged_within_an_item(made_store):
    stores = made_store("one", samplings=(1,), failed=None), made_store("both", failed=None)
    one, both = (arm_differences(Context.of(store)).overall[1].difference for store in stores)
    assert one is not None
    assert both is not None
    assert one.n_items == both.n_items
    assert both.se_items < one.se_items


def test_a_task_without_values_of_items_is_not_paired(made_store):
    store = made_store(failed=None)
    for score in store.of(ScoreRecord):
        if score.task == "arc_easy":
            store.add(score.model_copy(update={"items": ()}))
    row = next(row for row in arm_differences(Context.of(store)).tasks if row.task == "arc_easy")
    assert row.conclusion == "missing"
    assert "nothing to pair" in row.note


def test_less_can_be_better(made_store):
    store = made_store(failed=None)
    for score in store.of(ScoreRecord):
        store.add(score.model_copy(update={"higher_is_better": False}))
    words = {row.divergence: row.conclusion for row in arm_differences(Context.of(store)).overall}
    assert words["reverse_kl"] == "worse"


def test_gap_closed_needs_a_teacher_and_a_gap(made_store):
    with_teacher = arm_differences(Context.of(made_store(failed=None))).overall[1]
    assert with_teacher.gap_closed is not None
    assert 0.3 < with_teacher.gap_closed.estimate < 0.9
    store = made_store("without", failed=None)
    for score in store.of(ScoreRecord):
        if score.cell.role == "teacher":
            gone = tuple(Item(id=item.id, value=None) for item in score.items)
            store.add(score.model_copy(update={"items": gone}))
    assert arm_differences(Context.of(store)).overall[1].gap_closed is None


def test_differences_are_per_column_and_the_pooled_ones_of_the_first_metric(made_store):
    one = arm_differences(Context.of(made_store(failed=None)))
    store = made_store("both", metrics=("rouge_l", "token_f1"), failed=None)
    both = arm_differences(Context.of(store))
    assert both.overall == one.overall
    assert both.noise == one.noise
    found = [(row.task, row.unit) for row in both.tasks if row.divergence == "reverse_kl"]
    assert found == [
        ("dolly", "ROUGE-L × 100"), ("self-inst", "ROUGE-L × 100"),
        ("dolly", "token F1 × 100"), ("self-inst", "token F1 × 100"),
        ("dolly-choice", "accuracy × 100"), ("arc_easy", "acc_norm × 100"),
    ]  # fmt: skip
    single, several = (
        [alone(row.difference) for row in rows if row.divergence == "reverse_kl"]
        for rows in (one.tasks, both.tasks)
    )
    assert [*several[:2], *several[4:]] == single
