"""Sections: one list, from which page, navigation and numbers are made; stems are the same."""

from pathlib import Path

import pytest

import adakd.reporting
from adakd.reporting.report import TEMPLATES
from adakd.reporting.sections import SECTIONS
from adakd.reporting.sections.base import Context, Section, shown

REPORTING = Path(adakd.reporting.__file__).parent
TESTS = Path(__file__).parents[1]
NO_SECTION = {"__init__", "base", "page"}
"""``page`` tests a section and its parts together."""


def everything(sections: tuple[Section, ...]) -> list[Section]:
    return [one for section in sections for one in (section, *everything(section.parts))]


def stems(folder: Path, pattern: str) -> set[str]:
    return {file.name.partition(".")[0] for file in folder.glob(pattern)}


def test_every_section_has_its_own_id() -> None:
    ids = [section.id for section in everything(SECTIONS)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("section", everything(SECTIONS), ids=lambda section: section.id)
def test_module_and_template_and_test_of_a_section_have_its_id_as_their_stem(
    section: Section,
) -> None:
    folder = "judges" if section.template.startswith("judges/") else "."
    assert section.template == str(Path(folder, f"{section.id}.html.j2"))
    assert (TEMPLATES / section.template).is_file()
    package = "judges" if folder == "judges" else "sections"
    assert section.build.__module__ == f"adakd.reporting.{package}.{section.id}"
    assert (TESTS / package / f"test_{section.id}.py").is_file()


@pytest.mark.parametrize(("package", "folder"), [("sections", "."), ("judges", "judges")])
def test_every_module_and_template_is_of_a_section(package: str, folder: str) -> None:
    own = {one.id for one in everything(SECTIONS) if one.template.startswith("judges/")}
    ids = own if package == "judges" else {one.id for one in everything(SECTIONS)} - own
    assert stems(REPORTING / package, "*.py") - NO_SECTION == ids
    assert stems(TEMPLATES / folder, "*.html.j2") - {"report", "passage", "calibration"} == ids
    tests = {stem.removeprefix("test_") for stem in stems(TESTS / package, "test_*.py")}
    assert tests - NO_SECTION == ids


def test_page_and_navigation_and_numbers_follow_the_list(mini, mini_page, stored, stored_page):
    for context, page in ((mini, mini_page), (stored, stored_page)):
        ids = [one.section.id for one in shown(SECTIONS, context)]
        links = [address[1:] for address in page.addresses][: len(ids)]
        anchors = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
        assert links == anchors == ids
        assert list(page.numbers) == ["title", *ids]


def test_a_section_without_a_view_is_absent_with_its_parts(mini: Context) -> None:
    part = Section("part", "Part", lambda context: 1, "part.html.j2")
    absent = Section("absent", "Absent", lambda context: None, "absent.html.j2", parts=(part,))
    present = Section("present", "Present", lambda context: 0, "present.html.j2", parts=(part,))
    (found,) = shown((absent, present), mini)
    assert (found.section.id, found.view) == ("present", 0)
    assert [(one.section.id, one.view) for one in found.parts] == [("part", 1)]


def test_a_shared_value_is_built_once(made_store) -> None:
    context, calls = Context.of(made_store(run=False)), []

    def build(given: Context) -> int:
        calls.append(given)
        return len(calls)

    assert [context.once(build), context.once(build)] == [1, 1]
    assert calls == [context]
