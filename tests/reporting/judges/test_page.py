"""The section on judges: its numbers, judged files, and hostile text."""

import json
import re

import pytest

from adakd.reporting.index import index
from adakd.store.records import ExampleRecord, ScoreRecord

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)></style>{{ 7*7 }}]]>--><b>'\"&"


def test_all_numbers_of_the_judging_are_embedded_and_no_item(ask, mind, page_of):
    secret = "a reason that nobody needs as a number"
    page = page_of(ask(mind(model="m", text=secret), examples=False))
    found = page.numbers["judges"]
    assert found["vetting"]["judges"][0]["result"]["accuracy"]["n"] == 30
    assert found["spending"]["rows"][0]["requests"] > 0
    assert found["agreement"]["pairs"][0]["second"] == "ROUGE-L"
    assert secret not in json.dumps(found["rates"])
    assert "items" not in found


def test_two_files_are_methods_by_their_names(two_files, mind):
    order = index(two_files(mind()))
    assert order.is_of_files
    assert {str(method) for method in order.methods} == {"theirs", "ours"}
    assert order.gaps() == ()


@pytest.mark.parametrize("references", [True, False])
def test_two_files_have_a_page_without_empty_sections(two_files, mind, page_of, references):
    page = page_of(two_files(mind(), references=references)).text
    assert page.startswith("two files: judged answers")
    assert "Answers from files:" in page
    assert "by fair against theirs: ours" in page
    for absent in ("AdaKD", "seed", "overhead", "Training curves", "incomplete", "--against all"):
        assert absent not in page
    assert ("The files hold no references" in page) != references
    assert ("ROUGE-L × 100" in page) == references


def test_hostile_text_stays_text_everywhere(ask, mind, page_of):
    """In questions, references, answers, reasons, failures, descriptions and settings."""
    minds = [
        mind(name=HOSTILE, text=HOSTILE, fails=0.3, model=HOSTILE, mode=HOSTILE, family=HOSTILE),
        mind(name="other", text=HOSTILE, graded=True),
    ]
    store = ask(*minds, against=("plain", "reference"), text=HOSTILE)
    assert HOSTILE in store.of(ExampleRecord)[0].question
    assert HOSTILE in store.of(ScoreRecord)[0].items[0].answer
    plain = ask(mind(name="tame"), mind(name="other"), against=("plain", "reference"), name="tame")
    page = page_of(store)
    assert "script" not in page.names
    assert set(page.names) <= set(page_of(plain).names)
    assert page.written.count("<style>") == page.written.count("</style>") == 1
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
    assert page.numbers["judges"]["vetting"]["judges"][0]["record"]["description"] == HOSTILE
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.written
    for option in re.findall(r'id="only-([^"]*)"', page.written):
        assert re.fullmatch(r"[a-z]\d+", option)
