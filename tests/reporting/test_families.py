"""Questions and their families: what a verdict may depend on, and that it is one everywhere."""

import pytest

from adakd.reporting.families import arm_differences, compare, question_arms
from adakd.reporting.index import Method
from adakd.reporting.sections.base import Context
from adakd.store.records import Item, RunRecord, ScoreRecord

ABLATIONS = {
    "idts": {"name": "adakd", "focus": "fixed"},
    "latf": {"name": "adakd", "temperature": "fixed"},
    "c=1": {"name": "adakd", "c": 1.0},
}


@pytest.fixture
def of_arms(made_store):
    """Return a function that makes the context of a run with some arms, given by their settings."""

    def make(name, arms, **changes):
        store = made_store(name, arms=tuple(arms), **{"failed": None, **changes})
        (run,) = store.of(RunRecord)
        store.add(run.model_copy(update={"suite": {**run.suite, "arms": arms}}))
        return Context.of(store)

    return make


def verdicts(rows, arm):
    return [
        (row.divergence, row.task, row.unit, row.conclusion, row.adjusted_p, row.difference)
        for row in rows
        if row.arm == arm
    ]


def test_further_arms_change_no_verdict_of_the_suites_question(of_arms):
    own = {"adakd": {"name": "adakd"}}
    alone = arm_differences(of_arms("alone", own))
    among = arm_differences(of_arms("among", {**ABLATIONS, **own, "egad": {"name": "egad"}}))
    for rows in ("overall", "tasks"):
        assert verdicts(getattr(alone, rows), "adakd") == verdicts(getattr(among, rows), "adakd")


@pytest.mark.parametrize(
    ("arms", "asked"),
    [
        ({"adakd": {"name": "adakd", "c": 0.3}, **ABLATIONS}, ("adakd",)),
        ({**ABLATIONS, "mine": {"name": "egad"}}, ("idts", "mine")),
        (ABLATIONS, ("idts",)),
        ({"adakd": {"name": "adakd"}, "egad": {"name": "egad"}}, ("adakd", "egad")),
    ],
    ids=["named", "first and whole", "first", "two methods"],
)
def test_the_first_arm_and_whole_methods_are_questions(of_arms, arms, asked):
    context = of_arms("mini", arms)
    assert question_arms(context.index) == asked
    families = arm_differences(context).families
    sizes = [3] * len(asked) + [3 * (len(arms) - len(asked))]
    assert [family.size for family in families] == [size for size in sizes if size]


def test_the_only_set_has_no_second_table(made_store):
    found = arm_differences(Context.of(made_store(sets=("dolly",), failed=None)))
    assert {row.task for row in found.tasks} == {"dolly-choice", "arc_easy"}
    both = made_store("both", sets=("dolly",), metrics=("rouge_l", "token_f1"), failed=None)
    tasks = {(row.task, row.unit) for row in arm_differences(Context.of(both)).tasks}
    assert ("dolly", "token F1 × 100") in tasks
    assert ("dolly", "ROUGE-L × 100") not in tasks


def test_a_comparison_has_one_verdict_in_either_direction(made_store):
    context = Context.of(made_store(failed=None))
    row = arm_differences(context).overall[1]
    on, off = Method("distilled", "reverse_kl", "adakd"), Method("distilled", "reverse_kl")
    sets = context.index.sets
    there, back, new = compare(
        context, "here", [(on, off, sets), (off, on, sets), (on, off, sets[:1])]
    )
    assert (there.conclusion, there.adjusted_p) == (row.conclusion, row.adjusted_p)
    assert (back.conclusion, back.adjusted_p) == ("worse", row.adjusted_p)
    assert row.conclusion == "better"
    of_set = next(one for one in arm_differences(context).tasks
                  if (one.task, one.divergence) == ("dolly", "reverse_kl"))  # fmt: skip
    assert (new.conclusion, new.adjusted_p) == (of_set.conclusion, of_set.adjusted_p)


def test_new_comparisons_are_a_family_of_their_own(made_store):
    context = Context.of(made_store(failed=None))
    sets = context.index.sets
    other = [
        (Method("distilled", one, "adakd"), Method("distilled", "forward_kl"), sets)
        for one in ("reverse_kl", "skew_reverse_kl(lam=0.1)")
    ]
    before = arm_differences(context).overall
    rows = compare(context, "here", other)
    assert all(row.adjusted_p is not None for row in rows)
    assert arm_differences(context).overall == before
    assert compare(context, "here", [*other, *other]) == (*rows, *rows)


def test_a_set_that_only_one_arm_has_leaves_the_verdict_of_the_other(made_store):
    """The mean over one scored set, and that set alone, are the same comparison."""
    store = made_store(failed=None)
    for score in store.of(ScoreRecord):
        if score.cell.arm == "adakd" and score.task == "self-inst":
            gone = tuple(Item(id=item.id, value=None) for item in score.items)
            store.add(score.model_copy(update={"items": gone}))
    found = arm_differences(Context.of(store))
    single = {r.divergence: r for r in found.tasks if r.task == "dolly"}
    for row in found.overall:
        one = single[row.divergence]
        assert (one.conclusion, one.adjusted_p) == (row.conclusion, row.adjusted_p)
