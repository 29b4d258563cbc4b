"""The sparse matrix that carries a student's distribution over to the teacher's vocabulary."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from adakd.bridges.base import Array, unpaired
from adakd.data.vocabulary import Vocabulary

PIECES, KEPT = 4, 4
"""Most pieces that a text is cut into, and most entries of a row."""
DECAY = 0.1
"""Weight of each piece over that of the piece before it."""
ALIKE, OF_ALIKE = 0.3, 0.8
"""Least similarity of two special tokens, and the weight of one for its similarity."""
_RESERVED = re.compile("unused|reserved", re.IGNORECASE)
"""Special tokens that stand for nothing; tokenizers have thousands of them."""
_SIGNS = re.compile(r"[<>|_]")


def projection(
    student: Vocabulary, teacher: Vocabulary, pairs: tuple[Array, Array]
) -> tuple[Array, Array, Array]:
    """Return the entries of the matrix W: student's id, teacher's id and weight.

    Rows are normalised; those of entries that nothing connects are empty.

    Args:
        student: its vocabulary.
        teacher: likewise.
        pairs: ids of the entries that mean the same: their weight is 1, and there is no other.
    """
    ours, theirs = (side.tolist() for side in pairs)
    weights: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    alone = unpaired(student, pairs[0]).tolist()
    for number, piece, share in _pieces(student, alone, teacher):
        weights[number][piece] += share
    rest, paired = unpaired(teacher, pairs[1]).tolist(), set(ours)
    for number, piece, share in _pieces(teacher, rest, student):
        if piece not in paired:
            weights[piece][number] += share
    specials = [number for number in alone if number in student.special]
    for number, other, alike in _similar(student, specials, teacher):
        weights[number][other] += OF_ALIKE * alike
    found = [(number, other, 1.0) for number, other in zip(ours, theirs, strict=True)]
    for number, row in weights.items():
        kept = sorted(row.items(), key=lambda one: (-one[1], one[0]))[:KEPT]
        total = sum(weight for _, weight in kept)
        found += [(number, other, weight / total) for other, weight in kept]
    columns: Any = [*zip(*sorted(found), strict=True)] or ([], [], [])
    return np.array(columns[0], np.int64), np.array(columns[1], np.int64), np.array(columns[2])


def _pieces(
    source: Vocabulary, numbers: Sequence[int], target: Vocabulary
) -> Iterator[tuple[int, int, float]]:
    """Yield the first pieces in one vocabulary of entries of another, with weights of sum 1."""
    numbers = [number for number in numbers if source.pieces[number]]
    cut = target.cut([source.pieces[number] for number in numbers])
    for number, pieces in zip(numbers, cut, strict=True):
        shares = [DECAY**place for place in range(min(len(pieces), PIECES))]
        for piece, share in zip(pieces, shares, strict=False):
            yield number, piece, share / sum(shares)


def _similar(
    student: Vocabulary, numbers: Sequence[int], teacher: Vocabulary
) -> Iterator[tuple[int, int, float]]:
    """Yield special tokens with names that are alike, and how much."""
    others = [number for number in sorted(teacher.special) if _named(teacher, number)]
    for number in (number for number in numbers if _named(student, number)):
        for other in others:
            alike = similarity(student.names[number], teacher.names[other])
            if alike >= ALIKE:
                yield number, other, alike


def _named(vocabulary: Vocabulary, number: int) -> bool:
    return not _RESERVED.search(vocabulary.names[number])


def similarity(one: str, other: str) -> float:
    """Return how much alike the names of two special tokens are, from 0 to 1."""
    words = _words(one), _words(other)
    every = words[0] | words[1]
    common = len(words[0] & words[1]) / len(every) if every else 0.0
    return 0.6 * SequenceMatcher(None, one, other).ratio() + 0.4 * common


def _words(name: str) -> set[str]:
    return {word for word in _SIGNS.sub(" ", name.lower()).split() if len(word) > 2}
