"""Warnings about judges: on the page and in the terminal."""

import pytest

from adakd.config.judge import Vetting
from adakd.reporting import vetting_warnings, win_rate_table
from adakd.store.records import VerdictRecord


def test_a_judge_below_its_bar_opens_the_section_with_a_warning(ask, mind, page_of):
    page = page_of(ask(mind(name="tiny", first=1.0))).text
    start = page.index("Do not trust the win rates of tiny.")
    assert start < page.index("Against the plain arm")
    for line in (
        "decides 0 % of known pairs correctly (bar 80 %)",
        "changes 100 % of its verdicts with the order (bar 25 %)",
        "calls 0 % of pairs of equal answers a tie (bar 50 %)",
    ):
        assert line in page[start:]
    assert "by tiny are not reliable: it failed its vetting." in page


def test_a_judge_that_passes_has_no_warning(ask, mind, page_of):
    page = page_of(ask(mind())).text
    assert "Do not trust" not in page
    assert "unvetted" not in page
    assert "fair passed" in page


def test_a_judge_that_was_not_vetted_is_said_to_be_so(ask, mind, page_of):
    page = page_of(ask(mind(name="hasty", vetting=0))).text
    assert "The win rates of hasty are unvetted." in page
    assert "switched off in the judge file" in page
    assert "by hasty (not vetted) against plain" in page


@pytest.mark.parametrize(("family", "is_told"), [("teacher", True), ("qwen", False)])
def test_a_judge_of_the_teachers_family_is_flagged(ask, mind, page_of, family, is_told):
    page = page_of(ask(mind(family=family))).text
    assert ("is of the teacher's family" in page) == is_told


def test_how_a_judge_was_asked_is_told(ask, mind, page_of):
    page = page_of(ask(mind(model="some/Model-7B", mode="decision"))).text
    assert "some/Model-7B; reads label probabilities (decision)" in page
    assert "Which answer is better?" in page


def test_the_terminal_warns_as_the_page_does(ask, mind, page_of):
    bad, good = mind(name="tiny", first=1.0), mind(name="fair")
    store = ask(bad, good)
    (warning,) = vetting_warnings(store, [bad.key, good.key])
    assert warning.startswith("do not trust the win rates of tiny: it decides 0 % of known")
    table = win_rate_table(store)
    assert table.row_count == 4
    verdicts = next(column for column in table.columns if column.header == "verdict")
    assert "not separable?" in list(verdicts.cells)


def test_a_jury_of_vetted_members_says_how_it_was_vetted(ask, mind, sit, page_of):
    minds = [mind(name="a"), mind(name="b"), mind(name="c")]
    page = page_of(ask(*minds, records=[sit("jury", *minds)])).text
    assert "jury passed the majority of a, b, c" in page
    assert "Krippendorff's α over all judges" in page


def test_a_bar_of_its_own_is_held_against_a_judge(ask, mind, page_of):
    one = mind(eye=0.9)
    record = one.record.model_copy(update={"vetting": Vetting(accuracy=1.0, items=10)})
    page = page_of(ask(one, records=[record])).text
    assert "(bar 100 %)" in page


def test_a_server_that_cuts_prompts_is_told_on_the_page_and_in_the_terminal(ask, mind, page_of):
    one = mind()
    store = ask(one)
    assert "Prompts were cut." not in page_of(store).text
    verdicts = [record for record in store.of(VerdictRecord) if record.judge == one.key]
    store.add(*(record.model_copy(update={"prompt_cut": True}) for record in verdicts[:3]))
    page = page_of(store).text
    assert "Prompts were cut." in page
    assert "the server of fair cut 3 of " in page
    (warning,) = vetting_warnings(store, [one.key])
    assert warning.startswith("the server of fair cut 3 of ")
    assert not vetting_warnings(store, ["another"])
