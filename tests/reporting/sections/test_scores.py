"""Means and spreads by hand, and the table in the terminal."""

from io import StringIO
from statistics import mean, stdev

import pytest
from rich.console import Console

from adakd.reporting import summary_table
from adakd.reporting.index import Method, index
from adakd.reporting.sections.scores import score_table
from adakd.store.records import ScoreRecord


def fields(table, name):
    return dict(
        zip(table.columns, next(row for m, row in table.rows if str(m) == name), strict=True)
    )


def values(store, role, task):
    """Return the stored values by training seed, sampling seeds averaged."""
    by_seed = {}
    for score in store.of(ScoreRecord):
        if (score.cell.role, score.task) == (role, task):
            by_seed.setdefault(score.cell.seed, []).append(100 * score.value)
    return [mean(of_seed) for of_seed in by_seed.values()]


def test_spread_is_over_training_seeds_where_there_are_several(made_store):
    store = made_store()
    order = index(store)
    table = score_table(order, order.of_sort("answers"), average=True)
    assert (table.spread, table.seeds) == ("training", 3)
    sft = fields(table, "sft")["dolly"]
    expected = values(store, "sft", "dolly")
    assert (sft.mean, sft.std) == (pytest.approx(mean(expected)), pytest.approx(stdev(expected)))
    assert fields(table, "teacher")["dolly"].std is None


def test_spread_is_over_sampling_seeds_where_there_is_one_training_seed(made_store):
    store = made_store(seeds=(10,), samplings=(1, 2, 3), failed=None)
    order = index(store)
    table = score_table(order, order.of_sort("answers"), average=True)
    assert (table.spread, table.seeds) == ("sampling", 3)
    teacher = [
        100 * s.value
        for s in store.of(ScoreRecord)
        if s.key.startswith("teacher-10-None-plain-dolly-")
    ]
    found = fields(table, "teacher")["dolly"]
    assert found.std == pytest.approx(stdev(teacher[:3]))


@pytest.mark.parametrize(
    ("seeds", "samplings", "varied", "paired"),
    [
        (
            (10, 20, 30), (1, 2), "mean ± std over 3 training seeds, 2 sampling seeds averaged",
            "paired over 3 training seeds, each at 2 sampling seeds",
        ),
        (
            (10, 20), (1,), "mean ± std over 2 training seeds, one sampling seed",
            "paired over 2 training seeds, each at 1 sampling seed",
        ),
        (
            (10,), (1, 2), "mean ± std over 2 sampling seeds of one training seed",
            "paired over 1 training seed, each at 2 sampling seeds",
        ),
        (
            (10,), (1,), "one training seed, one sampling seed",
            "paired over 1 training seed, each at 1 sampling seed",
        ),
        ((10,), (None,), "one training seed", "paired over 1 training seed"),
    ],
)  # fmt: skip
def test_a_table_says_which_seeds_vary(made_store, seeds, samplings, varied, paired):
    order = index(made_store(seeds=seeds, samplings=tuple(s or 0 for s in samplings), failed=None))
    sets = order.of_sort("answers" if samplings != (None,) else "choice")
    table = score_table(order, sets)
    assert (table.varied, table.paired) == (varied, paired)


def test_the_mean_of_the_sets_is_the_last_column(made_store):
    order = index(made_store())
    table = score_table(order, order.of_sort("answers"), average=True)
    sft = fields(table, "sft")
    assert sft["mean of the sets"].mean == pytest.approx(
        (sft["dolly"].mean + sft["self-inst"].mean) / 2
    )


def test_failed_partial_and_missing_fields(made_store):
    order = index(made_store())
    table = score_table(order, order.of_sort("answers"))
    partial = fields(table, "forward_kl + adakd")["dolly"]
    assert (partial.status, partial.note) == ("partial", "2 of 3 seeds")
    failed = index(made_store("failed", seeds=(10,), failed=("reverse_kl", "adakd", 10)))
    score = fields(score_table(failed, failed.of_sort("answers")), "reverse_kl + adakd")["dolly"]
    assert (score.status, score.mean) == ("failed", None)
    assert "not finite" in score.note


def test_best_is_the_best_distilled_student(made_store):
    order = index(made_store())
    table = score_table(order, order.of_sort("answers"))
    best = Method("distilled", "reverse_kl", "adakd")
    row = dict(table.rows)[best]
    assert table.best == tuple(score.mean for score in row)


def test_unscored_items_are_counted(made_store):
    order = index(made_store(failed=None))
    found = fields(score_table(order, order.of_sort("answers")), "reverse_kl")["dolly"]
    assert (found.items, found.unscored) == (40, 2 * 3 * 2)


def test_the_terminal_table_shows_every_method_and_failure(made_store):
    console = Console(width=200, record=True, file=StringIO())
    console.print(summary_table(made_store(seeds=(10,), failed=("reverse_kl", "adakd", 10))))
    text = console.export_text()
    assert "mean ± std over 2 sampling seeds of one training seed" in " ".join(text.split())
    assert "reverse_kl + adakd" in text
    assert "failed" in text


# --- several metrics ------------------------------------------------------------------------


def test_the_mean_of_the_sets_is_of_the_first_metric(made_store):
    one = made_store(failed=None)
    both = made_store("both", metrics=("rouge_l", "token_f1"), failed=None)
    alone, order = index(one), index(both)
    first = score_table(alone, alone.of_sort("answers"), average=True)
    table = score_table(order, order.of_sort("answers"), average=True)
    assert table.columns == ("dolly", "self-inst", "dolly", "self-inst", "mean of the sets")
    assert [unit.split(" ×")[0] for unit in table.units] == [
        "ROUGE-L", "ROUGE-L", "token F1", "token F1", "ROUGE-L",
    ]  # fmt: skip
    for (method, ours), (same, theirs) in zip(table.rows, first.rows, strict=True):
        assert method == same
        assert (*ours[:2], ours[-1]) == theirs


def test_where_less_is_better_the_least_is_the_best(made_store):
    store = made_store(failed=None)
    order = index(store)
    worse = [task.model_copy(update={"higher_is_better": False}) for task in order.sets]
    students = [row for method, row in score_table(order, worse).rows if method.divergence]
    table = score_table(order, worse, average=True)
    assert table.best[0] == min(row[0].mean for row in students)
    means = [row[-1].mean for method, row in table.rows if method.divergence]
    assert table.best[-1] == min(means)
