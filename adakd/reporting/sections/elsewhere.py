"""Students trained elsewhere: beside the methods of the run, not paired with them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from adakd.planning import PLAIN
from adakd.reporting.index import Index, Method
from adakd.reporting.matrices import Matrices
from adakd.reporting.sections.base import Context
from adakd.stats import Unpaired, unpaired_difference

MANY = 12
"""Methods of the run beyond which only plain arms, the first adaptive arm and SFT are shown."""


@dataclass(frozen=True)
class Trained:
    """The trainings of one method made elsewhere."""

    method: Method
    models: tuple[tuple[int, str], ...]
    """Seed and model of each."""
    note: str


@dataclass(frozen=True)
class Row:
    """A method made elsewhere minus a method of the run, in the mean over the sets."""

    method: Method
    other: Method
    difference: Unpaired


@dataclass(frozen=True)
class Elsewhere:
    """All students trained elsewhere, and their differences to the methods of the run."""

    unit: str
    trained: tuple[Trained, ...]
    rows: tuple[Row, ...]

    @property
    def trainings(self) -> str:
        """What the intervals cover."""
        alone = [row for row in self.rows if row.difference.trainings == (1, 1)]
        single = [row for row in self.rows if row.difference.trainings[0] == 1]
        if not self.rows or len(alone) == len(self.rows):
            return "With one training on either side, the intervals cover the items alone."
        if single:
            return (
                "A method with a single training is taken to vary between trainings as the one "
                "beside it does."
            )
        return "The intervals cover items and trainings."


def elsewhere(context: Context) -> Elsewhere | None:
    """Describe the students trained elsewhere; None where the suite has none."""
    index = context.index
    methods = [method for method in index.methods if method.role == "elsewhere"]
    if not methods:
        return None
    return Elsewhere(
        unit=index.metric.unit if index.metric else "",
        trained=tuple(_trained(index, method) for method in methods),
        rows=tuple(_rows(context, methods)),
    )


def _trained(index: Index, method: Method) -> Trained:
    named = [] if index.suite is None else index.suite.students
    of_method = [one for one in named if one.name == method.divergence]
    notes = dict.fromkeys(one.note for one in of_method if one.note)
    models = tuple((one.seed, one.model) for one in of_method)
    return Trained(method, models, "; ".join(notes))


def _rows(context: Context, methods: list[Method]) -> Iterator[Row]:
    matrices, sets = context.once(Matrices), context.index.sets
    for method in methods:
        for other in _others(context.index):
            pairs = [(matrices.of(method, task), matrices.of(other, task)) for task in sets]
            shared = [
                (on, off)
                for on, off in pairs
                if (np.isfinite(on).any(1) & np.isfinite(off).any(1)).any()
            ]
            if shared:
                yield Row(method, other, unpaired_difference(shared))


def _others(index: Index) -> list[Method]:
    """Return the methods of the run to stand beside; of many, those that a reader asks for."""
    found = [method for method in index.methods if method.role in ("sft", "distilled")]
    if len(found) <= MANY:
        return found
    arms = [PLAIN, *(method.arm for method in found if method.arm != PLAIN)][:2]
    return [method for method in found if method.role == "sft" or method.arm in arms]
