"""The student's distribution carried over to the teacher's vocabulary."""

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from adakd.bridges.base import Array, Bridge, Side, bridge, unit_sums
from adakd.data.vocabulary import Vocabulary
from adakd.registry import Ours

if TYPE_CHECKING:
    from torch import Tensor

PIECES, KEPT = 4, 4
"""Most pieces that a text is cut into, and most entries of a row of the projection."""
DECAY = 0.1
"""Weight of each piece over that of the piece before it."""


@bridge("x_token")
class XToken(Bridge):
    r"""Carry the student's distribution over to the teacher's vocabulary (X-Token, P-KL).

    A sparse matrix W gives each student entry's mass to teacher entries: to the one with the same
    text, if there is one; else to the pieces of its text, at most four with weights in proportion
    to :math:`0.9 \cdot 0.1^j`, and to the teacher's entries of which it is itself a piece,
    normalised over its four largest weights. In each unit

    .. math:: \tilde q = \mathrm{mean}_t\, W^\top q_t, \qquad
        \log \tilde p = \mathrm{mean}_t \log p_t

    over its tokens on either side, restricted to the teacher's `top` entries there, of those that
    W reaches.

    Ours: units end at common boundaries of equal texts, where the published alignment also pairs
    similar strings; pieces are the longest that fit, where it calls the other tokenizer; the top
    entries are chosen in each unit, where it takes those of a micro-batch, so that the loss would
    depend on the batch. H-KL and the dynamic weight of the cross-entropy are left out:
    ``objective.cross_entropy`` is a constant one.

    Args:
        top: entries of the teacher that are compared in a unit.

    References:
        `X-Token <https://arxiv.org/abs/2605.21699>`_, 2026.
    """

    def __init__(self, *, top: Annotated[int, Field(gt=0), Ours] = 8192) -> None:
        self.top = top

    def connect(self, student: Vocabulary, teacher: Vocabulary) -> None:
        """Also make the projection."""
        super().connect(student, teacher)
        self.projection = projection(student, teacher, self.columns)
        self._reached = np.unique(self.projection[1])

    def rows(self, student: Side, teacher: Side) -> "tuple[Tensor, Tensor]":
        """Return the teacher's likeliest entries in each unit, ``(M, K)``."""
        reached = teacher.ids.new_tensor(self._reached)
        logs = teacher.logits.log_softmax(-1)[:, reached]
        theirs = unit_sums(logs, teacher) / _count(teacher)
        found = theirs.topk(min(self.top, len(reached)), -1)
        source, target = map(student.ids.new_tensor, self.projection[:2])
        weight = student.logits.new_tensor(self.projection[2])
        mean = unit_sums(student.logits.softmax(-1), student) / _count(student)
        carried = mean.new_zeros(len(mean), teacher.logits.shape[-1])
        carried = carried.index_add(-1, target, mean[:, source] * weight)
        tiny = 1e-38 if carried.itemsize < 8 else 1e-300
        ours = carried.gather(-1, reached[found.indices]).clamp_min(tiny).log()
        return ours, found.values

    def labels(self, student: Array) -> Array:
        """Return 0: the rank of the text among the teacher's entries is not known."""
        return np.zeros(len(student), np.int64)


def projection(
    student: Vocabulary, teacher: Vocabulary, pairs: tuple[Array, Array]
) -> tuple[Array, Array, Array]:
    """Return the entries of the matrix W: student's id, teacher's id and weight.

    Rows sum to 1; those of entries that no text connects are empty.
    """
    weights: dict[int, dict[int, float]] = {}
    paired = dict(zip(*(side.tolist() for side in pairs), strict=True))
    theirs = {piece: number for number, piece in enumerate(teacher.pieces) if piece}
    ours = {piece: number for number, piece in enumerate(student.pieces) if piece}
    longest = max(map(len, theirs), default=0), max(map(len, ours), default=0)
    for number, piece in enumerate(student.pieces):
        if number in paired:
            weights[number] = {paired[number]: 1.0}
        elif piece:
            row = weights.setdefault(number, {})
            for place, part in enumerate(_pieces(piece, theirs, longest[0])):
                row[part] = row.get(part, 0.0) + (1 - DECAY) * DECAY**place
    taken = set(paired.values())
    for number, piece in enumerate(teacher.pieces):
        if number in taken or not piece:
            continue
        for place, part in enumerate(_pieces(piece, ours, longest[1])):
            if part not in paired:
                row = weights.setdefault(part, {})
                row[number] = row.get(number, 0.0) + (1 - DECAY) * DECAY**place
    found: list[tuple[int, int, float]] = []
    for number, row in weights.items():
        kept = sorted(row.items(), key=lambda one: (-one[1], one[0]))[:KEPT]
        total = sum(weight for _, weight in kept)
        found += [(number, part, weight / total) for part, weight in kept]
    columns: Any = [*zip(*sorted(found), strict=True)] or ([], [], [])
    return np.array(columns[0], np.int64), np.array(columns[1], np.int64), np.array(columns[2])


def _pieces(text: bytes, entries: dict[bytes, int], longest: int) -> list[int]:
    """Return the first pieces of a text, the longest that fit; none where it cannot be cut."""
    found: list[int] = []
    while text and len(found) < PIECES:
        fitting = range(min(len(text), longest), 0, -1)
        length = next((size for size in fitting if text[:size] in entries), 0)
        if not length:
            return []
        found.append(entries[text[:length]])
        text = text[length:]
    return found


def _count(side: Side) -> "Tensor":
    return (side.last - side.first + 1).unsqueeze(-1)
