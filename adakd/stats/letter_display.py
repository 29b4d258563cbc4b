"""Compact letter display: players that share a letter are not separable."""

import numpy as np
from numpy.typing import NDArray


def compact_letters(separable: NDArray[np.bool_]) -> list[str]:
    """Return the letters of each player: two share a letter unless they are separable.

    Every letter denotes a maximal group without a separable pair. The group of the first player is
    "a".

    Args:
        separable: players x players, symmetric, the strongest player first.

    References:
        Piepho, `An Algorithm for a Letter-Based Representation of All-Pairwise Comparisons
        <https://doi.org/10.1198/1061860043515>`_, 2004: the insert-and-absorb algorithm.
    """
    groups = [frozenset(range(len(separable)))]
    for one, other in np.argwhere(np.triu(separable)).tolist():
        groups = _split(groups, one, other)
    ordered = sorted(groups, key=sorted)
    return [
        "".join(chr(ord("a") + number) for number, group in enumerate(ordered) if player in group)
        for player in range(len(separable))
    ]


def _split(groups: list[frozenset[int]], one: int, other: int) -> list[frozenset[int]]:
    """Split the groups that contain both players; drop parts contained in another group."""
    split: set[frozenset[int]] = set()
    for group in groups:
        split |= {group - {one}, group - {other}} if {one, other} <= group else {group}
    return [group for group in split if not any(group < larger for larger in split)]
