"""The page of a calibration, and its sentence on the page of a run."""

import pytest

from adakd.errors import AdakdError
from adakd.reporting import write_calibration
from adakd.reporting.estimates import cited, points, share
from adakd.store import Store
from adakd.store.records import CalibrationRecord, Estimate, JudgeRecord

HOSTILE = "<script>alert(1)</script>\x1b[2J"


def estimate(value: float, n: int = 100) -> Estimate:
    return Estimate(value=value, low=value - 0.05, high=value + 0.05, n=n)


@pytest.fixture
def record() -> CalibrationRecord:
    return CalibrationRecord(
        key="k",
        judge="j@1",
        name="j",
        model=HOSTILE,
        mode="text",
        data="dolly/valid.jsonl",
        data_digest="0" * 64,
        pairs=200,
        failed=estimate(0.05),
        accuracy=estimate(0.9, 175),
        by_case={"padded": estimate(0.5)},
        by_length={"short": estimate(0.7)},
        flips=estimate(0.1),
        self_ties=None,
        position=Estimate(value=0.02, low=-0.03, high=0.07, n=175),
        length=Estimate(value=-0.1, low=-0.2, high=0.0, n=44),
    )


def test_the_page_shows_every_measure_with_its_interval(record, tmp_path, page_reader) -> None:
    store = Store(tmp_path)
    store.add(record)
    store.add(
        JudgeRecord(
            key="j@1",
            name="j",
            description="",
            backend="x",
            mode="text",
            settings={"model": HOSTILE},
        )
    )
    page = page_reader(write_calibration(tmp_path).read_text(encoding="utf-8"))
    for text in (
        "It decides 90 % (85–95 %, n = 175) of pairs with a known answer rightly in both orders, "
        "and changes 10 % (5–15 %, n = 100) of its verdicts with the order; 5 %",
        "200 pairs, in both orders",
        "10 % (5–15 %, n = 100)",
        "+2 points (−3 to +7)",
        "−10 points (−20 to 0)",
        "with another item's reference behind it",
        "Right on short references",
        "Guessing is right in both orders on 25 % of them.",
    ):
        assert text in page.text
    assert "script" not in page.names
    assert "\x1b" not in page.written
    assert page.addresses == []


def test_a_rule_is_not_praised_for_knowing_the_reference(record, tmp_path, page_reader) -> None:
    store = Store(tmp_path)
    store.add(record.model_copy(update={"mode": "rule"}))
    page = page_reader(write_calibration(tmp_path).read_text(encoding="utf-8"))
    assert "its accuracy says no more than that the rule works" in page.text
    assert "Guessing" not in page.text


def test_a_judge_that_rates_knows_no_order(record, tmp_path, page_reader) -> None:
    store, rated = Store(tmp_path), record.model_copy(update={"flips": None, "position": None})
    store.add(rated)
    page = page_reader(write_calibration(tmp_path).read_text(encoding="utf-8"))
    assert "guessing is right on 50 % of them" in page.text
    assert "order" not in page.text.partition("Ties between")[0]
    assert "of known pairs rightly, length pull" in cited(rated)


def test_a_calibration_is_cited_in_one_sentence(record) -> None:
    assert cited(record) == (
        "calibrated on dolly/valid.jsonl: decided 90 % (85–95 %, n = 175) of known pairs rightly "
        "in both orders, flips 10 % (5–15 %, n = 100), position pull +2 points (−3 to +7), "
        "length pull −10 points (−20 to 0)"
    )
    assert share(None) == points(None) == "–"


def test_a_folder_without_calibration_is_told(tmp_path) -> None:
    with pytest.raises(AdakdError, match="no calibration here"):
        write_calibration(tmp_path)
