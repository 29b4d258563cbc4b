"""Calibrations -> one HTML page, and the sentence in which a run cites them."""

from collections.abc import Sequence
from pathlib import Path

from adakd.errors import AdakdError
from adakd.reporting.estimates import points, share
from adakd.reporting.passages import legible
from adakd.reporting.report import environment
from adakd.reporting.wording import MODES
from adakd.store import Store
from adakd.store.disk import write_atomically
from adakd.store.records import CalibrationRecord, Case, JudgeRecord

DAMAGES: dict[Case, str] = {
    "other": "another item's reference",
    "truncated": "its first half alone",
    "shuffled": "its words in another order",
    "dropped": "without every third word",
    "repeated": "its last words over and over",
    "spliced": "its first half with the second half of another item's reference",
    "padded": "with another item's reference behind it",
}
"""What stands beside the reference, by case."""


def write_calibration(folder: Path) -> Path:
    """Write ``calibration.html`` beside the records of a folder, and return its path.

    Raises:
        AdakdError: there are no calibrations, or the folder cannot be written.
    """
    store, target = Store(folder), folder / "calibration.html"
    records = store.of(CalibrationRecord)
    if not records:
        raise AdakdError(f"{folder}: no calibration here; start one with adakd judge --calibrate")
    try:
        write_atomically(target, calibration_page(records, store.of(JudgeRecord)))
    except OSError as error:
        raise AdakdError(f"{target}: {error.strerror}") from None
    return target


def calibration_page(records: Sequence[CalibrationRecord], judges: Sequence[JudgeRecord]) -> str:
    """Return the page on some calibrations, the last one first."""
    template = environment().get_template("calibration.html.j2")
    return legible(
        template.render(
            records=tuple(reversed(records)),
            judges={judge.key: judge for judge in judges},
            damages=DAMAGES,
            modes=MODES,
            share=share,
            points=points,
        )
    )
