"""The student's distribution carried over to the teacher's vocabulary."""

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from adakd.bridges.base import Array, Bridge, Side, bridge, entries_of, unit_sums
from adakd.bridges.canonical import similar_units
from adakd.bridges.projection import projection
from adakd.data.vocabulary import Vocabulary
from adakd.registry import Ours

if TYPE_CHECKING:
    from torch import Tensor

COMMON = 0.6
"""Least weight of an entry of W that makes a pair of entries common, in the hybrid form."""


@bridge("x_token")
class XToken(Bridge):
    r"""Compare distributions over the teacher's vocabulary, by a projection between both (X-Token).

    A sparse matrix W gives each student entry's mass to teacher entries: to the one with the same
    text, if there is one; else to the pieces that the teacher's tokenizer cuts its text into, at
    most four with weights in proportion to :math:`0.1^j`, and to the teacher's entries of which it
    is itself such a piece. Special tokens go to those with similar names. Of each row the four
    largest weights are kept, and normalised. ``form: projected`` (P-KL) compares

    .. math:: \tilde q = \mathrm{mean}_t\, W^\top q_t, \qquad
        \log \tilde p = \mathrm{mean}_t \log p_t

    over a unit's tokens on either side, restricted to the teacher's `top` entries there, of those
    that W reaches. ``form: hybrid`` (H-KL) compares means of log-probabilities on both sides: for
    entries that W pairs with a weight of at least 0.6 as they are, for the others in descending
    order, `top` of them.

    Ours: one divergence over rows that are normalised, where the published hybrid form adds the L1
    distance of the sorted entries to a KL divergence of the common ones. The top entries are chosen
    in each unit, where the published ones are a micro-batch's, so that the loss would depend on the
    batch. A piece never has text that its entry has not; the published re-tokenization may add a
    space. The published "scale trick", which gives a sixth of a row to an arbitrary entry, is left
    out. The published loss is this one with ``forward_kl`` and the suite's
    ``objective: {cross_entropy: dynamic}``.

    Args:
        form: ``projected`` or ``hybrid``.
        units: common ``text``, between the boundaries that both tokenizations have; or ``similar``
            strings, aligned by Needleman-Wunsch as published, which also pairs texts that differ.
        top: entries that are compared in a unit; in the hybrid form beside the common ones.

    References:
        `X-Token <https://arxiv.org/abs/2605.21699>`_, 2026.
    """

    def __init__(
        self,
        *,
        form: Literal["projected", "hybrid"] = "projected",
        units: Annotated[Literal["text", "similar"], Ours] = "text",
        top: Annotated[int, Field(gt=0)] = 8192,
    ) -> None:
        self.form, self.units, self.top = form, units, top

    def connect(self, student: Vocabulary, teacher: Vocabulary) -> None:
        """Also make the projection."""
        super().connect(student, teacher)
        self.projection = projection(student, teacher, self.columns)
        self._reached = np.unique(self.projection[1])
        if self.form == "hybrid":
            self.pair(common_by(self.projection))
            self._rest = self.others()

    def align(self, student: Array, teacher: Array) -> Array:
        """Return units of equal text, or of similar strings."""
        if self.units == "text":
            return super().align(student, teacher)
        return similar_units(student, teacher, self.student, self.teacher)

    def rows(self, student: Side, teacher: Side) -> "tuple[Tensor, Tensor]":
        """Return the compared entries of each unit, ``(M, K)``."""
        return (self._hybrid if self.form == "hybrid" else self._projected)(student, teacher)

    def _projected(self, student: Side, teacher: Side) -> "tuple[Tensor, Tensor]":
        import torch

        from adakd.bridges.sorting import largest_of, taken

        likely, width = _mean(teacher.logits.log_softmax(-1), teacher), teacher.logits.shape[-1]
        places = largest_of(likely, self._reached, min(self.top, len(self._reached)))
        mean = _mean(student.logits.softmax(-1), student)
        target = torch.as_tensor(self.projection[1], device=mean.device).expand(len(mean), -1)
        shares = entries_of(mean, self.projection[0]) * mean.new_tensor(self.projection[2])
        carried = mean.new_zeros(len(mean), width).scatter_add(-1, target, shares)
        tiny = 1e-38 if carried.itemsize < 8 else 1e-300
        return taken(carried, places).clamp_min(tiny).log(), taken(likely, places)

    def _hybrid(self, student: Side, teacher: Side) -> "tuple[Tensor, Tensor]":
        from adakd.bridges.sorting import matched, taken

        width, found = min(self.top, *map(len, self._rest)), []
        for side, columns, rest in zip((student, teacher), self.columns, self._rest, strict=True):
            mean = _mean(side.logits.log_softmax(-1), side)
            found.append(taken(mean, matched(mean, columns, rest, width)))
        return found[0], found[1]

    def labels(self, student: Array) -> Array:
        """Return the common entry of each unit's first token in the hybrid form; else 0."""
        if self.form == "hybrid":
            return super().labels(student)
        return np.zeros(len(student), np.int64)  # its rank among the teacher's is not known


def common_by(projection: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """Return the pairs of entries that are common by their weight, in the student's order.

    Of several student entries for one of the teacher's, that with the largest weight counts, the
    first of equals.
    """
    best: dict[int, tuple[float, int, int]] = {}
    for number, other, weight in zip(*(part.tolist() for part in projection), strict=True):
        if weight >= COMMON:
            best[other] = min(best.get(other, (0.0, 0, 0)), (-weight, number, other))
    pairs = sorted((number, other) for _, number, other in best.values())
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _mean(values: "Tensor", side: Side) -> "Tensor":
    """Return the means over the tokens of each unit."""
    if len(side.first) == len(values):
        return values
    return unit_sums(values, side) / (side.last - side.first + 1).unsqueeze(-1)
