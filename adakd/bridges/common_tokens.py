"""Tokens and entries that both tokenizers have."""

from adakd.bridges.base import Array, Bridge, bridge


@bridge("overlap")
class Overlap(Bridge):
    """Compare single tokens that are the same on both sides, over the entries of both vocabularies.

    A unit is a token that both tokenizations have in the same place of the text; positions where
    they cut the text differently have no part in the loss. Both distributions are restricted to the
    entries that both vocabularies have, and renormalised. The end tokens are a pair.

    References:
        `KDFlow <https://github.com/songmzhang/KDFlow>`_, its ``simple_ctkd``, 2026.
    """

    direct = True

    def align(self, student: Array, teacher: Array) -> Array:
        """Return the units of one token on either side whose two tokens are a pair of entries."""
        units = super().align(student, teacher)
        single = (units[:, 1] - units[:, 0] == 1) & (units[:, 3] - units[:, 2] == 1)
        units = units[single]
        column = self.column_of[student[units[:, 0]]]
        paired = (column >= 0) & (self.columns[1][column] == teacher[units[:, 2]])
        kept: Array = units[paired]
        return kept
