"""Common entries and units, by hand."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adakd.bridges import bridge, common_entries, common_units
from adakd.bridges.base import equal_parts
from adakd.data.vocabulary import Vocabulary
from adakd.registry import Spec


def vocabulary(*words: str | bytes, end: int = 0, special: frozenset[int] = frozenset()) -> Any:
    names = tuple(word if isinstance(word, str) else str(word) for word in words)
    special = special | {end}
    texts = (word.encode() if isinstance(word, str) else word for word in words)
    pieces = tuple(b"" if number in special else text for number, text in enumerate(texts))
    return Vocabulary(names, pieces, special, end)


STUDENT = vocabulary("</s>", "a", "b", " ", "ab", " a", b"\xc3", b"\xa9")
TEACHER = vocabulary("ab", " ab", "a", "<e>", "b", "\u00e9", "ba", end=3)


def units(student: list[int], teacher: list[int]) -> list[list[int]]:
    sides = np.array(student, np.int64), np.array(teacher, np.int64)
    found: list[list[int]] = common_units(*sides, STUDENT, TEACHER).tolist()
    return found


def test_entries_with_one_text_are_pairs_and_the_ends_too() -> None:
    ours, theirs = common_entries(STUDENT, TEACHER)
    assert ours.tolist() == [0, 1, 2, 4]
    assert theirs.tolist() == [3, 2, 4, 0]


def test_all_entries_of_one_vocabulary_are_pairs() -> None:
    ours, theirs = common_entries(STUDENT, STUDENT)
    assert ours.tolist() == theirs.tolist() == [*range(8)]


def test_special_tokens_are_pairs_by_their_name_and_the_end_comes_first() -> None:
    student = vocabulary("<end>", "<user>", "<pad>", special=frozenset({1, 2}))
    teacher = vocabulary("<end>", "<eot>", "<user>", "a", end=1, special=frozenset({0, 2}))
    ours, theirs = common_entries(student, teacher)
    assert ours.tolist() == [0, 1]
    assert theirs.tolist() == [1, 2]


def test_of_two_entries_with_one_text_that_of_the_same_name_is_the_pair() -> None:
    """SentencePiece has a letter as itself and as a byte; tokenizers write it as itself."""
    student = vocabulary("</s>", "a")
    teacher = Vocabulary(("</s>", "<0x61>", "a"), (b"", b"a", b"a"), frozenset({0}), 0)
    assert common_entries(student, teacher)[1].tolist() == [0, 2]
    assert common_entries(teacher, student)[0].tolist() == [0, 2]
    other = Vocabulary(("</s>", "A"), (b"", b"a"), frozenset({0}), 0)
    assert common_entries(other, teacher)[1].tolist() == [0, 2]
    assert common_entries(teacher, other)[0].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("student", "teacher", "wanted"),
    [
        ([1, 2, 0], [2, 4, 3], [[0, 1, 0, 1], [1, 2, 1, 2], [2, 3, 2, 3]]),  # a|b, a|b
        ([1, 2, 0], [0, 3], [[0, 2, 0, 1], [2, 3, 1, 2]]),  # a|b, ab
        ([1, 2, 1, 2], [2, 6, 4], [[0, 1, 0, 1], [1, 3, 1, 2], [3, 4, 2, 3]]),  # a|b|a|b, a|ba|b
        ([4, 3, 4], [0, 1], [[0, 1, 0, 1], [1, 3, 1, 2]]),  # ab| |ab, ab| ab
        ([6, 7, 1], [5, 2], [[0, 2, 0, 1], [2, 3, 1, 2]]),  # two bytes, one letter
        ([1, 2], [0, 3], [[0, 2, 0, 1]]),  # cut short before its end
        ([1, 2, 1], [2], [[0, 1, 0, 1]]),  # the teacher's side is cut short
        ([4, 0], [2, 2, 3], []),  # ab, a|a: alike in half a token
        ([1, 2, 0], [2, 2, 3], [[0, 1, 0, 1]]),  # a|b, a|a
        ([], [], []),
        ([0], [3], [[0, 1, 0, 1]]),  # nothing but the end
    ],
)
def test_units_are_the_finest_texts_that_both_have(
    student: list[int], teacher: list[int], wanted: list[list[int]]
) -> None:
    assert units(student, teacher) == wanted


LOWER = replace(vocabulary("[SEP]", " the", " cat", "s", ",", end=0), spaced=False)
"""As WordPiece: words have their space in the vocabulary, but texts do not."""
CASED = vocabulary("</s>", "The", " cats", " cat", "s", ",", " ", " the", "X", " THE", end=0)


@pytest.mark.parametrize(
    ("student", "teacher", "wanted"),
    [
        # " the cats," with or without its spaces
        ([7, 2, 5, 0], [1, 2, 3, 4, 0], [[0, 1, 0, 1], [1, 2, 1, 3], [2, 3, 3, 4], [3, 4, 4, 5]]),
        # a space by itself belongs to the unit behind it
        ([7, 6, 3, 0], [1, 2, 0], [[0, 1, 0, 1], [1, 3, 1, 2], [3, 4, 2, 3]]),
        # The is another text than the; the next are alike
        ([1, 2, 5, 0], [1, 2, 3, 4, 0], [[1, 2, 1, 3], [2, 3, 3, 4]]),
        # one more letter in the middle
        ([7, 8, 3, 4, 5], [1, 2, 3, 4], [[0, 1, 0, 1], [2, 3, 1, 2], [3, 4, 2, 3], [4, 5, 3, 4]]),
        # half of a token alike: no unit ends or begins there
        ([9, 2, 5], [1, 2, 3, 4], [[1, 2, 1, 3], [2, 3, 3, 4]]),
    ],
)
def test_units_of_texts_that_one_tokenizer_has_normalised(
    student: list[int], teacher: list[int], wanted: list[list[int]]
) -> None:
    sides = np.array(student, np.int64), np.array(teacher, np.int64)
    assert common_units(*sides, CASED, LOWER).tolist() == wanted
    there = [[*unit[2:], *unit[:2]] for unit in wanted]
    assert common_units(*sides[::-1], LOWER, CASED).tolist() == there


def test_parts_of_texts_that_are_equal() -> None:
    assert equal_parts(b"abcdef", b"abcdef") == [(0, 0, 6)]
    assert equal_parts(b"Abcdef", b"abcdef") == [(0, 0, 0), (1, 1, 5)]
    assert equal_parts(b"ab\xef\xac\x81nish", b"abfinish") == [(0, 0, 2), (5, 4, 4)]
    assert equal_parts(b"abc", b"xyz") == [(0, 0, 0)]
    assert equal_parts(b" same", b"same") == [(1, 0, 4)]
    assert equal_parts(b"a" + 99 * b"b" + b"same", b"acsame") == [(0, 0, 1)]  # too far


def test_a_space_that_one_side_puts_before_a_text_is_no_part_of_it() -> None:
    assert units([4, 4], [1, 0]) == [[0, 1, 0, 1], [1, 2, 1, 2]]  # ab|ab, _ab|ab
    assert units([5, 2, 0], [0, 3]) == [[0, 2, 0, 1], [2, 3, 1, 2]]  # _a|b, ab


def test_a_text_that_begins_with_a_space_keeps_it() -> None:
    assert units([3, 4], [1]) == [[0, 2, 0, 1]]  # _|ab, _ab


def test_overlap_takes_single_tokens_that_are_pairs() -> None:
    made = bridge.build(Spec(name="overlap"))
    made.connect(STUDENT, TEACHER)
    found = made.align(
        np.array([1, 2, 4, 2, 0]), np.array([2, 4, 2, 4, 4, 3])
    )  # a|b|ab|b, a|b|a|b|b
    assert found.tolist() == [[0, 1, 0, 1], [1, 2, 1, 2], [3, 4, 4, 5], [4, 5, 5, 6]]
    assert made.labels(np.array([1, 2, 2, 0])).tolist() == [1, 2, 2, 0]
    # The same place and text, but the teacher's space belongs to its token: no pair.
    assert made.align(np.array([4]), np.array([1])).tolist() == []


def test_bridges_need_no_torch() -> None:
    code = "import sys, adakd.bridges; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
