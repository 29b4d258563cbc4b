"""Measure against reference implementations, and keep the results: for `adakd bench`."""

from pathlib import Path

from adakd.benchmarks import FILE, Bench, run_benchmarks, write_bench
from adakd.errors import AdakdError
from adakd.progress import Progress, Silent
from adakd.reporting import write_report
from adakd.store import Store

__all__ = ["FILE", "bench"]


def bench(
    expression: str | None = None,
    progress: Progress | None = None,
    run: Path | None = None,
    out: Path | None = None,
) -> Bench:
    """Measure losses, steps, growth and metrics against reference implementations.

    Args:
        expression: chooses cases, as pytest's ``-k`` does; all if not given.
        progress: receives every case; silent by default.
        run: the folder of a run: gets the results, and its report is written again.
        out: the file to write instead; nothing is written where neither is given.

    Raises:
        AdakdError: no run in that folder, both `run` and `out`, a package is missing, no case is
            chosen, or pytest itself has failed.
    """
    if run is not None and out is not None:
        raise AdakdError("--out goes without a run: the results of a run stay in its folder")
    if run is not None:
        Store(run).suite()  # before half an hour of measuring, not after
    measured = run_benchmarks(expression, progress or Silent())
    if file := out if run is None else run / FILE:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bench(measured, file)
    if run is not None:
        write_report(run)
    return measured
