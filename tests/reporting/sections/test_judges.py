"""The section on judges: it names them, and has their parts."""

from adakd.reporting.sections.base import Context, shown
from adakd.reporting.sections.judges import PARTS, judges


def test_a_run_without_a_judge_says_so(made_store, page_of):
    store = made_store(judge=False)
    assert judges(Context.of(store)).names == ()
    assert shown(PARTS, Context.of(store)) == ()
    assert "No judge was asked in this run." in page_of(store).lines


def test_a_judge_has_all_parts(stored, stored_page):
    assert judges(stored).names == ("rule",)
    assert [part.section.id for part in shown(PARTS, stored)] == [part.id for part in PARTS]
    embedded = {part.id for part in PARTS if part.has_figures}
    assert set(stored_page.numbers["judges"]) == {"names", *embedded}
