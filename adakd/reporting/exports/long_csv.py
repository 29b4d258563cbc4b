"""Every single score of a run as long CSV: one line for each item, seed and method."""

import csv
from collections.abc import Iterator
from io import StringIO
from math import isnan

from adakd.console import printable
from adakd.reporting.index import index
from adakd.store import Store

COLUMNS = (
    "task", "metric", "unit", "higher_is_better", "item", "method", "role", "divergence", "arm",
    "longer", "training_seed", "sampling_seed", "value",
)  # fmt: skip
"""The columns; ``value`` is in ``unit``, as on the page, and empty where an item has no score."""


def item_lines(store: Store) -> Iterator[str]:
    """Yield a header and a line for each item that counts on the page, in the page's units."""
    yield _line(COLUMNS)
    found = index(store)
    columns = {task.key: task for task in found.tasks}
    for (method, seed, key), records in found.scores.items():
        task = columns[key]
        for record in records:
            sampling = "" if record.sampling_seed is None else record.sampling_seed
            for item, value in zip(record.ids, record.values.tolist(), strict=True):
                yield _line(
                    (
                        task.name, task.metric, task.unit, task.higher_is_better, item, method,
                        method.role, method.divergence or "", method.arm, method.longer, seed,
                        sampling, "" if isnan(value) else repr(value * task.scale),
                    )
                )  # fmt: skip


def _line(values: tuple[object, ...]) -> str:
    stream = StringIO()
    csv.writer(stream, lineterminator="\n").writerow([printable(str(value)) for value in values])
    return stream.getvalue()
