"""Unite runs that were made on several machines: for `adakd merge`. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path

from adakd.reporting import write_report
from adakd.store.merging import Merged
from adakd.store.merging import merge as unite


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Unite runs of one suite in a folder and write its report. The runs are not changed.

    Runs may differ in what they compare: seeds, divergences, arms, students, sets, tasks, metrics,
    sampling seeds and judges. The same command again changes nothing.

    Args:
        folders: of two runs or more.
        out: the folder of the merged run; ``suite.yaml`` in it is the united suite.

    Raises:
        AdakdError: runs of different suites, or a record with another value under the same key.
    """
    done = unite(folders, out)
    write_report(out)
    return done
