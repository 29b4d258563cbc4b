"""Calibrate a judge on pairs with a known answer. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adakd.config.hashing import file_digest
from adakd.data import read_file
from adakd.errors import AdakdError
from adakd.judging import ItemText, Panel, load_panel
from adakd.judging.calibration import (
    PAIRS,
    calibrated,
    calibration_folder,
    calibration_pairs,
    length_thirds,
)
from adakd.judging.cost import Cost, cost
from adakd.judging.runner import ask_known_pairs, open_queries
from adakd.judging.vetting import KnownPair
from adakd.progress import Progress, Silent
from adakd.reporting import write_calibration
from adakd.reporting.estimates import cited
from adakd.store import Store, locked
from adakd.store.records import CalibrationRecord, JudgeRecord, VettingRecord

RUNS = Path("runs")


@dataclass(frozen=True)
class _Prepared:
    panel: Panel
    texts: dict[str, ItemText]
    pairs: list[KnownPair]
    folder: Path


def calibrate(
    judge: str,
    data: Path,
    pairs: int = PAIRS,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[Path, str]:
    """Measure a judge on pairs made from a set's own references, and write the page.

    Args:
        judge: name of a shipped judge or path of a judge file; no jury.
        data: a file of rows with references, as for evaluation sets.
        pairs: with a known answer, each asked in both orders.
        out: folder of records and page; ``runs/calibrations/JUDGE`` if None, where judgings in
            ``runs`` find the result and cite it.
        overrides: ``field=value`` settings of the judge.
        progress: receives every stage; silent by default.

    Returns:
        The path of ``calibration.html``, and the result in one sentence.

    Raises:
        AdakdError: no references in the data, an invalid file, or a judge that is unknown, cannot
            be reached, or gives no verdict on any of the first pairs.
    """
    prepared, progress = _prepared(judge, data, pairs, out, overrides), progress or Silent()
    (one,) = prepared.panel.judges
    with locked(prepared.folder):
        store = Store(prepared.folder)
        with progress.stage(f"calibrate {one.name}", 1) as show:
            ask_known_pairs(
                store,
                prepared.panel,
                {one.id: prepared.pairs},
                on_progress=show,
                on_note=lambda text: progress.note(text, "yellow"),
            )
        asked = store.get(JudgeRecord, one.id)
        assert asked is not None
        record = calibrated(
            asked,
            store.of(VettingRecord),
            prepared.pairs,
            length_thirds(prepared.texts),
            f"{data.resolve().parent.name}/{data.name}",
            file_digest(data),
        )
        if store.get(CalibrationRecord, record.key) != record:
            store.add(record)
        return write_calibration(prepared.folder), f"{record.name}, {cited(record)}"


def calibration_cost(
    judge: str,
    data: Path,
    pairs: int = PAIRS,
    out: Path | None = None,
    overrides: Sequence[str] = (),
) -> Cost:
    """Estimate the cost of :func:`calibrate`; asks nothing.

    Raises:
        AdakdError: as :func:`calibrate`, except for judges that cannot be reached.
    """
    prepared = _prepared(judge, data, pairs, out, overrides)
    (one,) = prepared.panel.judges
    store = Store(prepared.folder)
    return cost(one, (), open_queries(store, one, prepared.pairs), store)


def _prepared(
    judge: str, data: Path, pairs: int, out: Path | None, overrides: Sequence[str]
) -> _Prepared:
    panel = load_panel([judge], overrides)
    if len(panel.judges) > 1:
        raise AdakdError(f"--calibrate {judge}: a jury; calibrate each of its members")
    (one,) = panel.judges
    rows = read_file(data)
    texts = {row.id: ItemText(row.instruction, row.input, row.references) for row in rows}
    by_reference = one.backend.traits().by_reference
    made = calibration_pairs(data.stem, texts, pairs, by_reference)
    if all(pair.case == "same" for pair in made):
        raise AdakdError(
            f"--data {data}: no row has a reference to make pairs from, or too few have one of "
            "several words"
        )
    return _Prepared(panel, texts, made, out or calibration_folder(RUNS, one.id))
