"""Common entries, and an entry for the unit's own text where it is several tokens."""

from typing import TYPE_CHECKING

import numpy as np

from adakd.bridges.base import Array, Bridge, Side, bridge, entries_of, rows_of, unit_sums

if TYPE_CHECKING:
    from torch import Tensor


@bridge("simct")
class SimCT(Bridge):
    r"""Compare the common entries, and a virtual one for a text of several tokens (SimCT).

    The common entries are those at a unit's first token. Where a unit has several tokens on one
    side, its text is one more entry, whose score is the mean of the log-probabilities of its
    tokens, as in the paper; the released code takes the mean of raw logits, which depends on how
    each position's logits are shifted.

    References:
        `SimCT <https://arxiv.org/abs/2605.07711>`_, 2026.
    """

    def rows(self, student: Side, teacher: Side) -> "tuple[Tensor, Tensor]":
        """Return the common entries and the virtual one, ``(M, K + 1)``."""
        import torch

        several = (student.last > student.first) | (teacher.last > teacher.first)
        found = []
        for side, columns in zip((student, teacher), self.columns, strict=True):
            logs = side.logits.log_softmax(-1)
            own = logs.gather(-1, side.ids.unsqueeze(-1)).squeeze(-1)
            mean = unit_sums(own, side) / (side.last - side.first + 1)
            virtual = mean.where(several, -1e9).unsqueeze(-1)
            common = entries_of(rows_of(logs, side.first), columns)
            rows = torch.cat([common, virtual], -1)
            # The text's first token may be a common entry too: together they are at most 1.
            found.append(rows - rows.logsumexp(-1, keepdim=True).clamp_min(0))
        return found[0], found[1]

    def labels(self, student: Array) -> Array:
        """Return the common entry of each unit's first token; else the virtual one."""
        column = self.column_of[student]
        return np.where(column >= 0, column, len(self.columns[0]))
