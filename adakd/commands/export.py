"""Take tables and values of a run along: for `adakd export`. Imports no torch."""

from collections.abc import Iterator
from pathlib import Path

from adakd.errors import AdakdError, UnknownName, did_you_mean
from adakd.reporting.exports import item_lines, latex_lines, markdown_lines, tables_of
from adakd.reporting.report import Report
from adakd.store import Store
from adakd.store.disk import write_atomically

FORMATS = ("csv", "latex", "markdown", "json")


def export(folder: Path, format: str, file: Path | None = None) -> Iterator[str]:
    """Return a run's tables or values as text, piece by piece, or write them into a file.

    Args:
        folder: of the run.
        format: ``csv`` has every score of every item, training seed, sampling seed and method;
            ``latex`` and ``markdown`` the tables of the page in its own words; ``json`` the
            figures behind the page, as ``report.json``.
        file: where to write; nothing is returned then.

    Raises:
        UnknownName: not a format.
        AdakdError: there are no records, or the file cannot be written.
    """
    if format not in FORMATS:
        raise UnknownName(f"--format: {format!r}{did_you_mean(format, FORMATS)}")
    store = Store(folder)
    if not store.exists:
        raise AdakdError(f"{store.file}: no such file; run a suite with --out {folder} first")
    pieces = _pieces(store, format)
    if file is None:
        return pieces
    try:
        write_atomically(file, "".join(pieces))
    except OSError as error:
        raise AdakdError(f"{file}: {error.strerror}") from None
    return iter(())


def _pieces(store: Store, format: str) -> Iterator[str]:
    if format == "csv":
        return item_lines(store)
    report = Report.of(store)
    if format == "json":
        return iter((report.json,))
    tables = tables_of(report.page)
    return latex_lines(tables) if format == "latex" else markdown_lines(tables)
