"""Long CSV: every item of every seed and method, from which the page's means follow."""

import csv
from collections import defaultdict
from statistics import mean

from adakd.reporting.exports import item_lines
from adakd.reporting.sections.scores import instruction_sets


def rows_of(store):
    return list(csv.DictReader("".join(item_lines(store)).splitlines()))


def test_the_means_of_the_page_follow_from_the_lines(mini):
    by_run = defaultdict(list)
    for row in rows_of(mini.store):
        assert row["unit"].endswith("× 100")
        if row["value"]:
            place = row["method"], row["task"], row["training_seed"], row["sampling_seed"]
            by_run[place].append(float(row["value"]))
    table = instruction_sets(mini)
    for method, scores in table.rows:
        for task, score in zip(table.columns[:-1], scores, strict=False):
            runs = [mean(of) for (m, t, *_), of in by_run.items() if (m, t) == (str(method), task)]
            assert abs(mean(runs) - score.mean) < 1e-9


def test_there_is_one_line_for_each_item_and_run(mini):
    rows = rows_of(mini.store)
    items = sum(len(r.ids) for records in mini.index.scores.values() for r in records)
    assert len(rows) == items
    names = ("task", "metric", "item", "method", "training_seed", "sampling_seed")
    assert len({tuple(row[name] for name in names) for row in rows}) == items
    assert {row["value"] for row in rows if row["item"] == "dolly-0" and row["arm"] == "adakd"} == {
        ""  # no score
    }


def test_nothing_in_a_line_acts_on_a_terminal(made_store):
    store = made_store(sets=("a\x1b[2Jb",), seeds=(10,), items=2, examples=False, judge=False)
    text = "".join(item_lines(store))
    assert "\x1b" not in text
    assert r"a\x1b[2Jb" in text
