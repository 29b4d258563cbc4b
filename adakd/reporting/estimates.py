"""Estimates of a calibration in words."""

from adakd.reporting.formatting import interval, percent, signed
from adakd.store.records import CalibrationRecord, Estimate


def share(estimate: Estimate | None) -> str:
    """Return a share with its interval and number, such as ``93 % (89–96 %, n = 175)``."""
    if estimate is None:
        return "–"
    ends = f"{100 * estimate.low:.0f}–{100 * estimate.high:.0f} %"
    return f"{percent(estimate.value)} ({ends}, n = {estimate.n})"


def points(estimate: Estimate | None) -> str:
    """Return a difference of shares in points, such as ``+2 points (-3 to +7)``."""
    if estimate is None:
        return "–"
    ends = interval(100 * estimate.low, 100 * estimate.high, 0)
    return f"{signed(100 * estimate.value, 0)} points ({ends})"


def cited(record: CalibrationRecord) -> str:
    """Return a calibration in one sentence."""
    said = [f"decided {share(record.accuracy)} of known pairs rightly"]
    if record.flips:  # a judge that rates one answer at a time knows no order
        said[0] += " in both orders"
        said.append(f"flips {share(record.flips)}")
    if record.position:
        said.append(f"position pull {points(record.position)}")
    if record.length:
        said.append(f"length pull {points(record.length)}")
    return f"calibrated on {record.data}: {', '.join(said)}"
