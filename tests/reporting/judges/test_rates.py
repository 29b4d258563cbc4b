"""Win rates from verdicts: laws of the counts, words, bands, stops and juries."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from adakd.reporting import formatting
from adakd.reporting.judges.agreement import agreement
from adakd.reporting.judges.ranking import ranking
from adakd.reporting.judges.rates import rates, rates_line, verdict_lines
from adakd.reporting.judges.vetting import judge_vettings
from adakd.reporting.sections.base import Context
from adakd.store import Store
from adakd.store.records import Record, StopRecord, VerdictRecord


def rates_of(store):
    return rates(Context.of(store))


def changed(store, change):
    """Return the store with every verdict replaced by what `change` makes of it."""
    lines = [
        change(record) if isinstance(record, VerdictRecord) else record
        for kind in get_args(Record)
        for record in store.of(kind)
    ]
    with store.file.open("w", encoding="utf-8") as stream:
        stream.writelines(record.model_dump_json() + "\n" for record in lines)
    return Store(store.folder)


def test_every_pair_counts_once(ask, mind):
    found = rates_of(ask(mind()))
    assert [str(row.method) for row in found.rows][1] == "reverse_kl + adakd"
    for row in found.rows:
        assert sum(row.rate.counts.values()) == 2 * 25 * 2
        assert (row.rate.prompts, row.rate.seeds) == (50, 2)
        assert str(row.opponent) == row.method.divergence


def test_a_clear_preference_has_its_word(ask, mind):
    store = changed(ask(mind()), lambda r: r.model_copy(update={"verdict": "candidate"}))
    assert {row.conclusion for row in rates_of(store).rows} == {"better"}
    store = changed(store, lambda r: r.model_copy(update={"verdict": "opponent"}))
    assert {row.conclusion for row in rates_of(store).rows} == {"worse"}


def test_a_failed_order_is_never_a_tie(ask, mind):
    def fail(record):
        said = "failed" if record.candidate_first else "tie"
        return record.model_copy(update={"verdict": said})

    for row in rates_of(changed(ask(mind()), fail)).rows:
        assert row.rate.counts["tie"] == 0
        assert row.rate.counts["failed"] == sum(row.rate.counts.values())
        assert (row.conclusion, row.overall) == ("not separable", None)


def test_a_judge_that_likes_the_first_place_is_seen(ask, mind):
    found = rates_of(ask(mind(first=1.0)))
    for row in found.rows:
        assert row.first_preferred == 1
        assert row.rate.counts["flip"] == sum(row.rate.counts.values())
        assert row.rate.decisive is None


def test_the_other_side_has_the_rest(ask, mind):
    """Candidate and opponent exchanged: every rate is one minus what it was."""

    def swap(record):
        sides = {"candidate": "opponent", "opponent": "candidate"}
        return record.model_copy(
            update={
                "candidate": record.opponent,
                "opponent": record.candidate,
                "candidate_first": not record.candidate_first,
                "verdict": sides.get(record.verdict, record.verdict),
                "probabilities": record.probabilities
                and (record.probabilities[1], record.probabilities[0], record.probabilities[2]),
            }
        )

    store = ask(mind(graded=True, fails=0.1, first=0.2))
    straight, turned = rates_of(store).rows, rates_of(changed(store, swap)).rows
    by_method = {(str(row.opponent), str(row.method)): row for row in turned}
    for row in straight:
        other = by_method[str(row.method), str(row.opponent)]
        for name in ("overall", "decisive", "soft"):
            mine, its = getattr(row.rate, name), getattr(other.rate, name)
            assert mine.estimate == pytest.approx(1 - its.estimate)
            assert mine.low == pytest.approx(1 - its.high, abs=0.02)
        assert row.rate.length_gap == pytest.approx(-other.rate.length_gap)
        assert row.first_preferred == pytest.approx(other.first_preferred)
        assert row.rate.bounds == pytest.approx([1 - end for end in reversed(other.rate.bounds)])


@pytest.mark.parametrize("changes", [{}, {"rates": True}, {"fails": 0.2}])
def test_a_jury_of_one_says_what_its_member_says(ask, mind, sit, changes):
    one = mind(**changes)
    found = rates_of(ask(one, records=[sit("jury", one)]))
    jury = [row for row in found.rows if row.judge == "jury@jury"]
    alone = [row for row in found.rows if row.judge == one.key]
    assert [row.rate.counts for row in jury] == [row.rate.counts for row in alone]
    assert [row.overall for row in jury] == [row.overall for row in alone]
    assert [row.conclusion for row in jury] == [row.conclusion for row in alone]


def test_a_jury_has_the_majority_and_comes_first(ask, mind, sit):
    minds = [mind(name="a"), mind(name="b"), mind(name="c", skill=0.0)]
    found = rates_of(ask(*minds, records=[sit("jury", *minds)]))
    assert [label.name for label in found.judges.values()] == ["jury", "a", "b", "c"]
    by_judge = {(found.judges[row.judge].name, row.method): row.rate for row in found.rows}
    for row in found.rows:
        if row.judge == "jury@jury":
            near, _, far = (by_judge[name, row.method].counts["win"] for name in "abc")
            assert abs(row.rate.counts["win"] - near) < abs(row.rate.counts["win"] - far)


def test_a_jury_did_not_sit_where_one_member_was_asked_alone(ask, mind, sit):
    minds = [mind(name="a"), mind(name="b")]
    store = ask(*minds, records=[sit("jury", *minds)])
    alone = ask(minds[0], against=("teacher",), name="alone")
    rest = [record for record in alone.of(VerdictRecord) if record.against == "teacher"]
    with store.file.open("a", encoding="utf-8") as stream:
        stream.writelines(record.model_dump_json() + "\n" for record in rest)
    rows = {(row.judge, row.against) for row in rates_of(Store(store.folder)).rows}
    assert ("jury@jury", "plain") in rows
    assert (minds[0].key, "teacher") in rows
    assert ("jury@jury", "teacher") not in rows


def test_a_teacher_meets_students_of_every_seed(ask, mind):
    """Whichever side is called the candidate, the seeds are those of the trained side."""
    found = rates_of(ask(mind(), against=("all", "teacher"), limit=10))
    rows = {(row.method.role, row.opponent.role): row.rate.seeds for row in found.rows}
    assert rows["teacher", "distilled"] == rows["distilled", "teacher"] == 2
    assert rows["teacher", "untrained"] == 1


# --- the A/A band ---------------------------------------------------------------------------


def test_the_same_method_again_is_a_band_and_never_a_gain(ask, mind):
    found = rates_of(ask(mind(), against=("plain", "again"), seeds=(10, 20, 30)))
    assert {row.against for row in found.rows} == {"plain"}
    (band,) = found.bands
    assert band.comparisons == 2 * 3 * 25 * 2  # every two of three seeds
    assert (band.noise.pairs, band.noise.df) == (6, 4)
    for row in found.rows:
        assert row.band == band.noise.band(3)
        is_inside = abs(row.overall.estimate - 0.5) <= row.band
        assert row.inside_band == (is_inside and row.conclusion == "not separable")


def test_a_gain_that_is_separable_is_never_called_chance(ask, mind):
    row = rates_of(ask(mind(), against=("plain", "again"))).rows[0]
    wide = replace(row, band=0.5, conclusion="better", stop=None)
    assert (wide.inside_band, wide.remark) == (False, "")
    assert replace(wide, conclusion="not separable").remark == "inside the A/A band"


def test_a_fixed_opponent_halves_the_variance_of_the_band(ask, mind):
    found = rates_of(ask(mind(), against=("teacher", "plain", "again")))
    by_role = {row.opponent.role: row.band for row in found.rows}
    assert by_role["distilled"] == pytest.approx(2**0.5 * by_role["teacher"])


def test_without_two_seeds_there_is_no_band(ask, mind):
    found = rates_of(ask(mind(), seeds=(10,)))
    assert found.bands == ()
    assert not any(row.inside_band for row in found.rows)


# --- stops ----------------------------------------------------------------------------------


def stop(judge, prompts=50, low=0.55, high=0.61, **changes):
    given = {
        "key": "stop", "judge": judge, "against": "plain", "method": "reverse_kl + adakd",
        "opponent": "reverse_kl",
        "target": 0.03, "prompts": prompts, "available": 400, "estimate": 0.58,
        "low": low, "high": high, "reached": True,
    }  # fmt: skip
    return StopRecord(**{**given, **changes})


def test_a_stop_widens_the_interval_by_the_training_seeds(ask, mind):
    one = mind()
    plain = rates_of(ask(one)).rows
    rows = rates_of(ask(one, records=[stop(one.key)], name="stopped")).rows
    (row,) = [row for row in rows if row.stop]
    (before,) = [other for other in plain if other.method == row.method]
    assert str(row.method) == "reverse_kl + adakd"
    assert row.overall.low < min(0.55, before.overall.low)
    assert row.overall.high > max(0.61, before.overall.high)
    assert (row.overall.estimate, row.overall.n) == (
        before.overall.estimate,
        before.overall.n,
    )


def test_with_one_seed_a_stop_has_at_least_the_interval_of_its_sequence(ask, mind):
    one = mind()
    before = rates_of(ask(one, seeds=(10,))).rows[1].overall
    narrow, wide = (
        rates_of(
            ask(one, seeds=(10,), records=[stop(one.key, low=low, high=high)], name=f"stop{low}")
        ).rows[1]
        for low, high in ((0.55, 0.61), (0.05, 0.95))
    )
    assert (narrow.overall.low, narrow.overall.high) == (
        min(0.55, before.low),
        max(0.61, before.high),
    )
    assert (wide.overall.low, wide.overall.high) == (0.05, 0.95)


def test_with_one_seed_a_stop_has_no_verdict_and_no_place_in_its_family(ask, mind, page_of):
    one = mind()
    record = stop(one.key, low=0.9, high=1.0, estimate=1.0)
    store = ask(one, seeds=(10,), records=[record], name="one-seed-stop")
    store = changed(store, lambda r: r.model_copy(update={"verdict": "candidate"}))
    found = rates_of(store)
    (row,) = [row for row in found.rows if row.stop]
    assert (row.p_value, row.adjusted_p, row.conclusion) == (None, None, "one seed")
    assert found.has_withheld
    assert {row.conclusion for row in found.rows if not row.stop} == {"better"}
    assert "one seed" in rates_line([row])
    assert f"{formatting.FEW + 1} methods one seed" in rates_line([row] * (formatting.FEW + 1))
    page = page_of(store)
    assert "over prompts" in page.text
    words = {row["conclusion"] for row in page.numbers["judges"]["rates"]["rows"]}
    assert words == {"better", "one seed"}


def test_a_stop_is_in_its_family(ask, mind):
    one = mind()
    store = changed(ask(one), lambda r: r.model_copy(update={"verdict": "candidate"}))
    free = {str(row.method): row for row in rates_of(store).rows}
    store.add(stop(one.key, low=0.9, high=1.0, estimate=1.0))
    rows = {str(row.method): row for row in rates_of(Store(store.folder)).rows}
    assert rows["reverse_kl + adakd"].conclusion == "better"
    for method, row in rows.items():
        assert row.adjusted_p == free[method].adjusted_p
    store.add(stop(one.key, low=0.4, high=1.0, estimate=0.7))
    (row,) = [row for row in rates_of(Store(store.folder)).rows if row.stop]
    assert (row.adjusted_p, row.conclusion) == (1, "not separable")


def test_a_stop_that_was_judged_past_does_not_count(ask, mind):
    one = mind()
    rows = rates_of(ask(one, records=[stop(one.key, prompts=20)])).rows
    assert [row for row in rows if row.stop] == []


# --- what counts ----------------------------------------------------------------------------


def test_verdicts_on_changed_settings_are_left_out(ask, mind):
    store = ask(mind())

    def other(record):
        cell = record.candidate.model_copy(update={"key": "gone"})
        return record.model_copy(update={"candidate": cell})

    assert rates_of(changed(store, other)) is None


def test_a_judge_without_a_record_is_named_and_not_vetted(ask, mind):
    store = ask(mind())
    renamed = changed(store, lambda r: r.model_copy(update={"judge": "old@1234"}))
    (judge,) = judge_vettings(Context.of(renamed))
    assert (judge.name, judge.result, judge.is_trusted) == ("old", None, False)


def test_two_judges_of_one_name_are_told_apart_by_their_keys(ask, mind):
    one, other = mind(), mind(skill=0.5)
    found = rates_of(ask(one, other))
    assert {label.name for label in found.judges.values()} == {one.key, other.key}


def test_length_matters_where_it_explains_the_rate(ask, mind):
    (row, *_) = rates_of(ask(mind())).rows
    far = replace(row.rate, controlled=replace(row.rate.overall, estimate=0.1))
    near = replace(row.rate, controlled=row.rate.overall)
    assert replace(row, rate=far).length_matters
    assert not replace(row, rate=near).length_matters
    assert not replace(row, rate=replace(row.rate, controlled=None)).length_matters


def test_rows_against_all_are_a_family_of_their_own(ask, mind):
    one = mind()
    alone = rates_of(ask(one, limit=15)).rows
    beside = rates_of(ask(one, against=("plain", "all"), limit=15, name="both")).rows
    plain = [row for row in beside if row.against == "plain"]
    assert [row.adjusted_p for row in plain] == [row.adjusted_p for row in alone]
    assert [row.against for row in beside] == sorted(
        (row.against for row in beside), key=lambda against: against == "all"
    )


def test_a_further_judge_changes_no_verdict_of_the_first(ask, mind):
    one, other = mind(), mind(name="other", skill=0.4)
    alone = rates_of(ask(one)).rows
    beside = rates_of(ask(one, other, name="both")).rows
    of_first = [row for row in beside if row.judge == one.key]
    assert [(row.adjusted_p, row.overall) for row in of_first] == [
        (row.adjusted_p, row.overall) for row in alone
    ]


def test_the_order_in_which_verdicts_arrive_changes_no_number(ask, mind):
    store = ask(mind(), mind(name="other", skill=0.4), against=("plain", "all"), limit=12)
    context = Context.of(store)
    before = rates(context), ranking(context), agreement(context)
    verdicts = store.of(VerdictRecord)
    turned = iter([verdicts[n] for n in np.random.default_rng(1).permutation(len(verdicts))])
    context = Context.of(changed(store, lambda _: next(turned)))
    assert (rates(context), ranking(context), agreement(context)) == before


def test_of_many_rows_those_that_are_not_separable_are_counted(ask, mind, monkeypatch):
    store = ask(mind())
    found = rates_of(store)
    ((every, _),) = verdict_lines(Context.of(store))
    assert every.count("not separable)") == sum(r.conclusion == "not separable" for r in found.rows)
    monkeypatch.setattr(formatting, "FEW", 0)
    first = found.rows[0]
    better, same = replace(first, conclusion="better"), replace(first, conclusion="not separable")
    some = rates_line((better, same, same))
    assert some.endswith(", better), 2 others not separable")
    failed = replace(same, overall=None)
    lost = rates_line((failed, same, same))
    assert lost.endswith("failed, 2 others not separable")


# --- the page -------------------------------------------------------------------------------


def test_the_same_method_again_is_no_row(ask, mind, page_of):
    page = page_of(ask(mind(), against=("plain", "again")))
    assert "A/A band" in page.text
    assert "Against again" not in page.text
    assert {row["against"] for row in page.numbers["judges"]["rates"]["rows"]} == {"plain"}


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        (True, "stopped at 50 of 400 prompts: ±0.03 over prompts reached"),
        (False, "all 50 prompts: ±0.03 over prompts not reached"),
    ],
)
def test_a_row_that_stopped_by_itself_says_so(ask, mind, page_of, reached, said):
    one = mind()
    stop = StopRecord(
        key="stop", judge=one.key, against="plain", method="reverse_kl + adakd",
        opponent="reverse_kl", target=0.03,
        prompts=50, available=400, estimate=0.58, low=0.56, high=0.61, reached=reached,
    )  # fmt: skip
    page = page_of(ask(one, records=[stop])).text
    assert said in page
