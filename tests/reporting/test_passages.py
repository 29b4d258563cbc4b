"""Texts on the page: cut where they are long, and never a control character."""

from hypothesis import given
from hypothesis import strategies as st

from adakd.reporting.passages import LONGEST, Passage, legible

CONTROLS = "a\x00b\x1b[2J\x1b]0;title\x07 \x7f\x9b1m \u202eback \u2066x"


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    made = legible(text)
    assert all(c in "\n\t" or (c >= " " and not "\x7f" <= c <= "\x9f") for c in made)
    made.encode()
    assert legible(made) == made


def test_a_text_of_any_language_stays() -> None:
    text = "Größe, 温度, температура, \u200fעברית\n\t– “x” 🙂"
    assert legible(text) == text
    assert legible("a\r\nb\rc") == "a\nb\nc"


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    assert Passage.of("x" * LONGEST) == Passage("x" * LONGEST)
    assert Passage.of("x" * (LONGEST + 5)) == Passage("x" * LONGEST, 5)
    assert Passage.of(None) is None


def test_the_page_holds_no_control_character_of_any_text(made_store, page_of) -> None:
    page = page_of(made_store(text=CONTROLS, failed=None, items=3))
    assert not set(page.written) & set("\x00\x07\x1b\x7f\x9b\u202e\u2066")
    assert r"a\x00b\x1b[2J" in page.text
    assert page.numbers["samples"]["samples"][0]["question"]["shown"] == CONTROLS


def test_the_page_cuts_a_long_answer_and_leads_to_the_records(made_store, page_of) -> None:
    page = page_of(made_store(text="word " * 500, failed=None, items=3))
    assert "500 more characters in results.jsonl , record example-dolly-0" in page.text
    beside = {address for address in page.addresses if address[0] != "#"}
    assert beside == {"report.json", "results.jsonl"}
    assert 'dir="auto"' in page.written
