"""Needleman-Wunsch over canonical strings: by hand, and against every alignment there is."""

from collections.abc import Sequence
from functools import cache
from random import Random

import numpy as np
import pytest

from adakd.bridges import bridge
from adakd.bridges.canonical import aligned, best_pairs, canonical, similar_units
from adakd.data.vocabulary import Vocabulary
from adakd.registry import Spec

STUDENT = Vocabulary(
    ("</s>", "a", "b", "ab", "c", "<0xC3>", "<0xA9>", " ,", "<user>"),
    (b"", b"a", b"b", b"ab", b"c", b"\xc3", b"\xa9", b" ,", b""),
    frozenset({0, 8}),
    0,
)
TEACHER = Vocabulary(
    ("ab", "b", "a", "<e>", "\u00e9", ",", " a", "x", "<user>"),
    (b"ab", b"b", b"a", b"", "\u00e9".encode(), b",", b" a", b"x", b""),
    frozenset({3, 8}),
    3,
)


def units(student: list[int], teacher: list[int]) -> list[list[int]]:
    sides = np.array(student, np.int64), np.array(teacher, np.int64)
    found: list[list[int]] = similar_units(*sides, STUDENT, TEACHER).tolist()
    return found


@pytest.mark.parametrize(
    ("student", "teacher", "wanted"),
    [
        ([1, 2, 0], [2, 1, 3], [[0, 1, 0, 1], [1, 2, 1, 2], [2, 3, 2, 3]]),  # a|b, a|b
        ([1, 2, 3, 0], [0, 2, 1, 3], [[0, 2, 0, 1], [2, 3, 1, 3], [3, 4, 3, 4]]),  # a|b|ab, ab|a|b
        ([1, 5, 6, 7], [2, 4, 5], [[0, 1, 0, 1], [1, 3, 1, 2], [3, 4, 2, 3]]),  # two bytes; " ,"
        ([1, 4, 2], [2, 7, 1], [[0, 1, 0, 1], [1, 2, 1, 2], [2, 3, 2, 3]]),  # c stands for x
        ([1, 2], [6, 1], [[0, 1, 0, 1], [1, 2, 1, 2]]),  # a space before the text
        ([8, 1], [8, 2], [[0, 1, 0, 1], [1, 2, 1, 2]]),  # special tokens by name
        ([1, 2, 0], [2], [[0, 1, 0, 1]]),  # nothing is left for b
        ([], [], []),
        ([0], [3], [[0, 1, 0, 1]]),
        ([1], [], []),
    ],
)
def test_units_are_strings_that_are_equal_or_in_the_same_place(
    student: list[int], teacher: list[int], wanted: list[list[int]]
) -> None:
    assert units(student, teacher) == wanted


def test_strings_of_tokens() -> None:
    ids = np.array([1, 5, 6, 7, 8])
    strings, starts = canonical(ids, STUDENT)
    assert strings == [b"a", "\u00e9".encode(), b",", b"\0<user>"]
    assert starts == [0, 1, 3, 4, 5]
    assert canonical(np.array([6, 1]), TEACHER, skipped=1)[0] == [b"a", b"b"]


def test_unequal_strings_in_a_row_are_joined_and_repaired() -> None:
    """Ten pairs, so that the first eight may be joined: x|y for pq|r are one unit."""
    tail = [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8"]
    assert aligned([b"x", b"y", *tail], [b"pq", b"r", *tail])[0] == (0, 2, 0, 2)
    # abc|de and ab|cde are unequal one by one, and equal together.
    assert aligned([b"abc", b"de", *tail], [b"ab", b"cde", *tail])[0] == (0, 2, 0, 2)


Pair = tuple[int, int, int, int]


def _allowed(one: Sequence[bytes], other: Sequence[bytes], pair: Pair) -> bool:
    """Return whether at most one token is on either side, or several are the text of one."""
    start, stop, first, last = pair
    sizes = stop - start, last - first
    if max(sizes) <= 1:
        return True
    return min(sizes) == 1 and b"".join(one[start:stop]) == b"".join(other[first:last])


def _score(one: Sequence[bytes], other: Sequence[bytes], pair: Pair) -> float:
    start, stop, first, last = pair
    sizes = stop - start, last - first
    if 0 in sizes:
        return -1.5 * sum(sizes)
    if sizes == (1, 1):
        return 3.0 if one[start] == other[first] else -3.0
    return 1.5 * max(sizes)


def test_the_score_is_the_largest_of_all_alignments() -> None:
    """Before anchors, joining and repair, which may only be better for texts."""
    chance = Random(0)
    for _ in range(200):
        text = "".join(chance.choice("ab") for _ in range(chance.randint(0, 9)))
        one, other = (_cut(text, chance) for _ in range(2))
        if chance.random() < 0.5 and other:
            other[chance.randrange(len(other))] = b"z"

        @cache
        def best(at: int, to: int, one=tuple(one), other=tuple(other)) -> float:
            if not at and not to:
                return 0.0
            found = []
            for down in range(min(at, 4) + 1):
                for right in range(min(to, 4) + 1):
                    pair = (at - down, at, to - right, to)
                    if (down or right) and _allowed(one, other, pair):
                        found.append(best(at - down, to - right) + _score(one, other, pair))
            return max(found)

        pairs = best_pairs(one, other, (0, len(one), 0, len(other)))
        assert sum(_score(one, other, pair) for pair in pairs) == best(len(one), len(other))


def _cut(text: str, chance: Random) -> list[bytes]:
    parts = []
    while text:
        size = chance.randint(1, 3)
        parts.append(text[:size].encode())
        text = text[size:]
    return parts


def test_pairs_cover_both_sides_in_order() -> None:
    chance = Random(1)
    for _ in range(100):
        text = "".join(chance.choice("abc") for _ in range(40))
        one, other = _cut(text, chance), _cut(text[:-3] + "zz", chance)
        pairs = aligned(one, other)
        for side, strings in ((0, one), (2, other)):
            ends = [0, *(pair[side + 1] for pair in pairs)]
            assert [pair[side] for pair in pairs] == ends[:-1]
            assert ends[-1] == len(strings)


def test_equal_texts_of_equal_tokens_are_units_of_one_token() -> None:
    made = bridge.build(Spec(name="x_token", units="similar"))
    made.connect(STUDENT, STUDENT)
    ids = np.array([1, 2, 3, 1, 2, 3, 4, 4, 4, 0])
    assert made.align(ids, ids).tolist() == [[k, k + 1, k, k + 1] for k in range(10)]
