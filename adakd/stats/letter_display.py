"""Compact letters: who shares one is not separable."""

import numpy as np
from numpy.typing import NDArray


def compact_letters(separable: NDArray[np.bool_]) -> list[str]:
    """Return the letters of each player, so that two share one unless they are separable.

    Every letter stands for a largest possible group without a separable pair. The group of the
    first player is "a".

    Args:
        separable: players x players, symmetric, the strongest player first.

    References:
        Piepho, `An Algorithm for a Letter-Based Representation of All-Pairwise Comparisons
        <https://doi.org/10.1198/1061860043515>`_, 2004: insert and absorb.
    """
    groups = [frozenset(range(len(separable)))]
    for one, other in np.argwhere(np.triu(separable)).tolist():
        groups = _apart(groups, one, other)
    ordered = sorted(groups, key=sorted)
    return [
        "".join(chr(ord("a") + number) for number, group in enumerate(ordered) if player in group)
        for player in range(len(separable))
    ]


def _apart(groups: list[frozenset[int]], one: int, other: int) -> list[frozenset[int]]:
    """Split the groups that hold both players, and drop the parts that another group holds."""
    split: set[frozenset[int]] = set()
    for group in groups:
        split |= {group - {one}, group - {other}} if {one, other} <= group else {group}
    return [group for group in split if not any(group < larger for larger in split)]
