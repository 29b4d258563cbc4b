"""Distributions compared by their sorted probabilities, whatever the entries mean."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from adakd.bridges.base import Array, Bridge, Side, bridge, rows_of

if TYPE_CHECKING:
    from torch import Tensor


@bridge("uld")
class ULD(Bridge):
    r"""Compare the probabilities of both distributions in descending order (ULD).

    The k-th largest probability of the student stands against the k-th largest of the teacher. With
    ``total_variation`` the loss is half of the published :math:`\sum_k |p_{(k)} - q_{(k)}|`, but
    that the smallest probabilities of the larger vocabulary are left out: the published filling
    with entries of probability 0 would make other divergences infinite.

    Args:
        positions: units of equal ``text``, each at its first token; or by ``index``, as in the
            reference implementation: the n-th token of one response stands against the n-th of the
            other, whatever their texts are.

    References:
        `ULD <https://arxiv.org/abs/2402.12030>`_, 2024.
    """

    def __init__(self, *, positions: Literal["text", "index"] = "text") -> None:
        self.positions = positions

    def align(self, student: Array, teacher: Array) -> Array:
        """Return units of equal text, or of equal index."""
        if self.positions == "text":
            return super().align(student, teacher)
        start = np.arange(min(len(student), len(teacher)), dtype=np.int64)
        return np.stack([start, start + 1, start, start + 1], 1)

    def rows(self, student: Side, teacher: Side) -> "tuple[Tensor, Tensor]":
        """Return the log-probabilities of each unit's first token, the largest first."""
        from adakd.bridges.sorting import largest, taken

        width, found = min(side.logits.shape[-1] for side in (student, teacher)), []
        for side in (student, teacher):
            logits = rows_of(side.logits, side.first)
            found.append(taken(logits.log_softmax(-1), largest(logits, width)))
        return found[0], found[1]

    def labels(self, student: Array) -> Array:
        """Return 0: the place of the text in the order of a row is not known."""
        return np.zeros(len(student), np.int64)
