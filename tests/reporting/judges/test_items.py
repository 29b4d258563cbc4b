"""The section on judges as it is read: warnings first, nothing hidden, hostile text harmless."""

import json
import re
from html.parser import HTMLParser

import pytest

from adakd.config.judge import Vetting
from adakd.reporting import render, vetting_warnings, win_rate_table
from adakd.reporting.index import index
from adakd.reporting.judges.items import MOST, agreement, browser, marks
from adakd.reporting.judges.judging import judging
from adakd.reporting.judges.verdicts import verdicts
from adakd.store.records import ExampleRecord, ScoreRecord, StopRecord

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)></style>{{ 7*7 }}]]>--><b>'\"&"


class Tags(HTMLParser):
    """The start tags of a page and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.within = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.within.append(tag)

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"style", "script"} & set(self.within):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def text(store):
    return Tags(render(store)).text


def shown(store):
    order = index(store)
    said = verdicts(store, order)
    return browser(store, said, judging(store, order, said), order.metric)


# --- warnings -------------------------------------------------------------------------------


def test_a_judge_below_its_bar_opens_the_section_with_a_warning(ask, mind):
    page = text(ask(mind(name="tiny", first=1.0)))
    start = page.index("Do not believe the win rates of tiny.")
    assert start < page.index("Against the plain twin")
    for line in (
        "decides 0 % of known pairs rightly (bar 80 %)",
        "changes 100 % of its verdicts with the order (bar 25 %)",
        "calls 0 % of answers equal to themselves (bar 50 %)",
    ):
        assert line in page[start:]
    assert "by tiny mean nothing: it failed its vetting." in page


def test_a_judge_that_passes_has_no_warning(ask, mind):
    page = text(ask(mind()))
    assert "Do not believe" not in page
    assert "unvetted" not in page
    assert "fair passed" in page


def test_a_judge_that_was_not_vetted_is_said_to_be_so(ask, mind):
    page = text(ask(mind(name="hasty", vetting=0)))
    assert "The win rates of hasty are unvetted." in page
    assert "switched off in the judge file" in page
    assert "by hasty (not vetted) against plain" in page


@pytest.mark.parametrize(("family", "is_told"), [("teacher", True), ("qwen", False)])
def test_a_judge_of_the_teachers_family_is_flagged(ask, mind, family, is_told):
    page = text(ask(mind(family=family)))
    assert ("is of the teacher's family" in page) == is_told


def test_how_a_judge_was_asked_is_told(ask, mind):
    page = text(ask(mind(model="some/Model-7B", mode="decision")))
    assert "some/Model-7B; reads label probabilities (decision)" in page
    assert "Which answer is better?" in page


def test_the_terminal_warns_as_the_page_does(ask, mind):
    bad, good = mind(name="tiny", first=1.0), mind(name="fair")
    store = ask(bad, good)
    (warning,) = vetting_warnings(store, [bad.key, good.key])
    assert warning.startswith("do not believe the win rates of tiny: it decides 0 % of known")
    table = win_rate_table(store)
    assert table.row_count == 4
    verdicts = next(column for column in table.columns if column.header == "verdict")
    assert "not separable?" in list(verdicts.cells)


# --- rows -----------------------------------------------------------------------------------


def test_the_same_method_again_is_no_row(ask, mind):
    page = render(ask(mind(), against=("plain", "again")))
    assert "A/A band" in page
    assert "Against again" not in page
    assert {row["against"] for row in numbers(page)["judging"]["contests"]} == {"plain"}


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        (True, "stopped at 50 of 400 prompts: ±0.03 reached"),
        (False, "cannot separate by 50 prompts: ±0.03 not reached"),
    ],
)
def test_a_row_that_stopped_by_itself_says_so(ask, mind, reached, said):
    one = mind()
    stop = StopRecord(
        key="stop", judge=one.key, against="plain", method="reverse_kl + adakd",
        opponent="reverse_kl", target=0.03,
        prompts=50, available=400, estimate=0.58, low=0.56, high=0.61, reached=reached,
    )  # fmt: skip
    page = text(ask(one, records=[stop]))
    assert said in page
    assert "56.0–61.0 %" in page


def numbers(page):
    return json.loads(re.search(r'id="numbers">(.*?)</script>', page, re.S)[1])


def test_all_numbers_of_the_judging_are_embedded_and_no_item(ask, mind):
    secret = "a reason that nobody needs as a number"
    found = numbers(render(ask(mind(model="m", text=secret), examples=False)))["judging"]
    assert found["referees"][0]["vetted"]["accuracy"]["n"] == 30
    assert found["referees"][0]["spending"]["requests"] > 0
    assert found["agreements"]["pairs"][0]["second"] == "ROUGE-L"
    assert secret not in json.dumps(found["contests"])
    assert "items" not in found


# --- two files --------------------------------------------------------------------------------


def test_two_files_are_methods_by_their_names(two_files, mind):
    order = index(two_files(mind()))
    assert order.is_of_files
    assert {str(method) for method in order.methods} == {"theirs", "ours"}
    assert order.gaps() == ()


@pytest.mark.parametrize("references", [True, False])
def test_two_files_have_a_page_without_empty_sections(two_files, mind, references):
    page = text(two_files(mind(), references=references))
    assert page.startswith("two files: judged answers")
    assert "Answers from files:" in page
    assert "by fair against theirs: ours" in page
    for absent in ("AdaKD", "seed", "overhead", "Training curves", "incomplete", "--against all"):
        assert absent not in page
    assert ("The files hold no references" in page) != references
    assert ("ROUGE-L × 100" in page) == references


# --- items ----------------------------------------------------------------------------------


def test_filters_hide_what_they_say(ask, mind, sit):
    minds = [mind(name="a", fails=0.1), mind(name="b", first=0.3)]
    store = ask(*minds, against=("plain", "teacher"), records=[sit("jury", *minds)])
    page = render(store)
    tags = Tags(page).tags
    items = [set(a["class"].split()) for t, a in tags if "item" in a.get("class", "").split()]
    options = [a["id"] for t, a in tags if t == "input" and "id" in a]
    assert len(items) == MOST
    found = shown(store)
    assert options == [f"only-{o.css}" for facet in found.facets for o in facet.options]
    labels = {facet.label for facet in found.facets}
    assert labels == {"Outcome", "ROUGE-L", "Judge", "Method", "Against", "Set", "Length"}
    style = page[page.index("<style>") : page.index("</style>")]
    for facet in found.facets:
        assert sum(option.count for option in facet.options) == MOST
        for option in facet.options:
            assert f"#only-{option.css}:checked) .item:not(.{option.css})" in style
            assert sum(option.css in classes for classes in items) == option.count


def test_items_come_from_all_judges_rows_and_outcomes(ask, mind):
    minds = [mind(name="a"), mind(name="b", fails=0.02)]
    store = ask(*minds, against=("plain", "teacher"))
    found = shown(store)
    assert len(found.items) == MOST < found.total
    assert f"{MOST} of {found.total:,} judged pairs" in text(store)
    by_judge = [sum(item.judge == name for item in found.items) for name in "ab"]
    assert by_judge == [MOST // 2] * 2
    assert {item.outcome for item in found.items} == {"win", "loss", "tie", "failed"}
    assert {item.candidate.method for item in found.items} >= {"reverse_kl", "reverse_kl + adakd"}


def test_disagreement_with_the_metric_comes_first(ask, mind):
    store = ask(mind(skill=0.5))
    found = shown(store)
    kinds = [item.agrees for item in found.items]
    order = ["disagrees", "no preference", "agrees"]
    assert kinds == sorted(kinds, key=order.index)
    assert set(kinds) == set(order)
    said = verdicts(store, index(store))
    for pair in next(iter(said.pairs.values())):
        better = (pair.candidate.value or 0) > (pair.opponent.value or 0)
        if agreement(pair) == "disagrees" and pair.candidate.value and pair.opponent.value:
            assert (pair.outcome == "win") != better


def test_an_item_shows_both_orders_of_every_member(ask, mind, sit):
    minds = [mind(name="a", graded=True), mind(name="b", rates=True)]
    found = shown(ask(*minds, records=[sit("jury", *minds)]))
    item = next(item for item in found.items if item.judge == "jury" and item.outcome != "failed")
    (graded, rated) = item.said
    assert [said.judge for said in (*graded, *rated)] == ["a", "a", "b", "b"]
    assert {said.order.endswith("shown first") for said in graded} == {True}
    assert all(said.verdict.startswith("rated ") for said in rated)
    assert sum(graded[0].probabilities) == pytest.approx(1)


def test_without_their_texts_answers_are_shown_alone(ask, mind):
    page = text(ask(mind(), examples=False))
    assert "All" in page or "of" in page
    assert "Look at single items" in page
    assert "not recorded" not in page


def test_very_long_texts_are_cut(ask, mind):
    found = shown(ask(mind(text="long " * 5000), limit=3))
    reason = found.items[0].said[0][0].reason
    assert len(reason.shown) == 2000
    assert reason.hidden == 5 * 5000 - 2000


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", ("empty",)),
        (" \n", ("empty",)),
        (None, ()),
        ("Short and no stop", ()),
        ("word " * 25, ("repeats itself", "may be cut")),
        (" ".join(f"word{n}" for n in range(25)), ("may be cut",)),
        (" ".join(f"word{n}" for n in range(25)) + ".", ()),
        (" ".join(f"word{n}" for n in range(25)) + "\n- a list", ()),
    ],
)
def test_answers_are_marked_at_first_sight(answer, expected):
    assert marks(answer) == expected


# --- hostile text ---------------------------------------------------------------------------


def test_hostile_text_stays_text_everywhere(ask, mind):
    """In questions, references, answers, reasons, failures, descriptions and settings."""
    minds = [
        mind(name=HOSTILE, text=HOSTILE, fails=0.3, model=HOSTILE, mode=HOSTILE, family=HOSTILE),
        mind(name="other", text=HOSTILE, graded=True),
    ]
    store = ask(*minds, against=("plain", "reference"), text=HOSTILE)
    assert HOSTILE in store.of(ExampleRecord)[0].question
    assert HOSTILE in store.of(ScoreRecord)[0].items[0].answer
    plain = ask(mind(name="tame"), mind(name="other"), against=("plain", "reference"), name="tame")
    page = render(store)
    tags = [tag for tag, _ in Tags(page).tags]
    assert tags.count("script") == 1
    assert set(tags) <= {tag for tag, _ in Tags(render(plain)).tags}
    assert page.count("<style>") == page.count("</style>") == 1
    for tag, attributes in Tags(page).tags:
        assert not [name for name in attributes if name.startswith("on")], tag
    assert numbers(page)["judging"]["referees"][0]["record"]["description"] == HOSTILE
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    for option in re.findall(r'id="only-([^"]*)"', page):
        assert re.fullmatch(r"[a-z]\d+", option)


def test_a_jury_of_vetted_members_says_how_it_was_vetted(ask, mind, sit):
    minds = [mind(name="a"), mind(name="b"), mind(name="c")]
    page = text(ask(*minds, records=[sit("jury", *minds)]))
    assert "jury passed the majority of a, b, c" in page
    assert "Krippendorff's α over all judges" in page


def test_a_bar_of_its_own_is_held_against_a_judge(ask, mind):
    one = mind(eye=0.9)
    record = one.record.model_copy(update={"vetting": Vetting(accuracy=1.0, items=10)})
    page = text(ask(one, records=[record]))
    assert "(bar 100 %)" in page
