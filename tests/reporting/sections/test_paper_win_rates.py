"""Our win rates beside the published ones: absent, not asked, and asked."""

from adakd.planning import Cell
from adakd.reporting import render
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.paper_win_rates import paper_win_rates
from adakd.store.records import RunRecord, ScoreRecord, VerdictRecord
from tests.reporting.judges.conftest import Mind, judged

SECTION = {
    "table": "judge (Qwen3-32B)",
    "judge": "qwen3-32b",
    "rows": {"reverse_kl": "rkd", "reverse_kl + adakd": "rkd+adakd"},
}


def with_section(store, section=SECTION):
    (run,) = store.of(RunRecord)
    store.add(run.model_copy(update={"suite": {**run.suite, "paper": [section]}}))
    return store


def test_absent_where_no_suite_asks_for_it(mini):
    assert paper_win_rates(mini) is None


def test_the_command_stands_where_the_judge_was_not_asked(made_store):
    store = with_section(made_store())
    view = paper_win_rates(Context.of(store))
    (table,) = view.tables
    assert [(row.method, row.name, row.paper) for row in table.rows] == [
        ("reverse_kl", "rkd", 59.5),
        ("reverse_kl + adakd", "rkd+adakd", 67.1),
    ]
    assert not table.is_asked
    page = render(store)
    assert "adakd judge RUN --judge qwen3-32b --against reference" in page
    assert "67.1 %" in page


def test_ours_is_the_rate_of_that_judge_against_the_reference(made_store):
    store = made_store(judge=False)
    judge = Mind()
    store.add(*judged(store, [judge], against=("reference", "plain"), limit=6))
    with_section(store, {**SECTION, "judge": judge.record.name})
    (table,) = paper_win_rates(Context.of(store)).tables
    assert table.is_asked
    found = [ours for row in table.rows for ours in row.ours]
    assert [(str(one.method), one.against) for one in found] == [
        ("reverse_kl", "reference"),
        ("reverse_kl + adakd", "reference"),
    ]


def test_a_fixed_model_is_an_opponent_as_in_the_paper(made_store):
    store = made_store(judge=False)
    judge = Mind()
    (first, *_) = verdicts = [
        record
        for record in judged(store, [judge], against=("reference",), limit=6)
        if isinstance(record, VerdictRecord)
    ]
    fixed = Cell(role="file", seed=0, divergence="gpt-4", key="fixed")
    score = next(iter(store.of(ScoreRecord)))
    store.add(
        judge.record,
        score.model_copy(update={"key": "of-file", "cell": fixed, "sampling_seed": None}),
        *(record.model_copy(update={"against": "gpt-4", "opponent": fixed}) for record in verdicts),
    )
    assert first.opponent is None
    with_section(store, {**SECTION, "judge": judge.record.name})
    (table,) = paper_win_rates(Context.of(store)).tables
    assert {str(ours.opponent) for row in table.rows for ours in row.ours} == {"gpt-4"}
    assert "against gpt-4" in render(store)
