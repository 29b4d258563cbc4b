"""Groups of tokens with one text: equal entries as they are, the others sorted."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from adakd.bridges.base import Array, Bridge, Side, bridge, complement, rows_of, unit_sums
from adakd.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

Merge = Literal["observed", "bayesian"]
CERTAIN = -1e-7
"""The largest log-likelihood of a unit's other tokens where their complement is an entry."""


@bridge("gold")
class GOLD(Bridge):
    r"""Compare equal entries as they are, and the other entries in descending order (GOLD).

    A unit's distribution is that of one of its tokens, times the probability of the unit's other
    tokens: each entry stands for itself with the rest of the text that follows, or precedes it. The
    mass of other continuations is an entry of its own where both sides have several tokens.

    Ours: one divergence is over all entries, where the published loss is a generalised JSD on
    equal ones and the sorted L1 distance on others, neither of them normalised. Of the entries that
    one side alone has, as many are compared as the other has too, the likeliest.

    Args:
        merge: ``observed`` takes the first token's distribution, times the later tokens'
            probabilities; ``bayesian`` the last token's, times the earlier ones'.

    References:
        `GOLD <https://github.com/huggingface/trl>`_, TRL's ``experimental/gold``, 2025.
    """

    def __init__(self, *, merge: Merge = "observed") -> None:
        self.merge = merge

    def connect(self, student: Vocabulary, teacher: Vocabulary) -> None:
        """Also note the entries that only one side has."""
        super().connect(student, teacher)
        self._others = self.others()

    def rows(self, student: Side, teacher: Side) -> "tuple[Tensor, Tensor]":
        """Return equal entries, the others sorted, and the mass of other continuations."""
        import torch

        from adakd.bridges.sorting import matched, taken

        found, width = [], min(map(len, self._others))
        several = (student.last > student.first) & (teacher.last > teacher.first)
        for side, columns, others in zip(
            (student, teacher), self.columns, self._others, strict=True
        ):
            logs = side.logits.log_softmax(-1)
            own = logs.gather(-1, side.ids.unsqueeze(-1)).squeeze(-1)
            at = side.first if self.merge == "observed" else side.last
            beside = (unit_sums(own, side) - own[at]).where(side.last > side.first, 0.0)
            rest = complement(beside.clamp_max(CERTAIN)).where(several, -1e9)
            places = matched(rows_of(side.logits, at), columns, others, width)
            rows = taken(rows_of(logs, at), places) + beside.unsqueeze(-1)
            found.append(torch.cat([rows, rest.unsqueeze(-1)], -1))
        return found[0], found[1]

    def labels(self, student: Array) -> Array:
        """Return the equal entry of each unit's first token; else the likeliest of the others."""
        column = self.column_of[student]
        return np.where(column >= 0, column, len(self.columns[0]))
