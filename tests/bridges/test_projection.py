"""The matrix between two vocabularies, by hand."""

import difflib

import numpy as np
import pytest

from adakd.bridges import common_entries
from adakd.bridges.projection import projection, similarity
from adakd.bridges.x_token import common_by
from adakd.data.vocabulary import Vocabulary

TEACHER = Vocabulary(
    ("ab", "b", "c", "<e>", "ba"), (b"ab", b"b", b"c", b"", b"ba"), frozenset({3}), 3
)


def test_pairs_are_1_and_a_piece_goes_to_what_it_is_a_piece_of() -> None:
    """a has no text of the teacher's but is the second piece of ba."""
    student = Vocabulary(("</s>", "a", "b", "ab"), (b"", b"a", b"b", b"ab"), frozenset({0}), 0)
    source, target, weight = projection(student, TEACHER, common_entries(student, TEACHER))
    assert [*zip(source, target, weight, strict=True)] == [
        (0, 3, 1.0), (1, 4, 1.0), (2, 1, 1.0), (3, 0, 1.0),
    ]  # fmt: skip


def test_a_text_goes_to_its_pieces_each_with_a_tenth_of_the_one_before() -> None:
    student = Vocabulary(("e", "abb", "x"), (b"", b"abb", b"x"), frozenset({0}), 0)
    source, target, weight = projection(student, TEACHER, (np.array([0]), np.array([3])))
    assert source.tolist() == [0, 1, 1]  # x has no piece
    assert target.tolist() == [3, 0, 1]
    assert weight.tolist() == pytest.approx([1, 1 / 1.1, 0.1 / 1.1])


def test_both_directions_add_up() -> None:
    """a and ab are no pair; a is the first of two pieces of ab, and c of cab's three."""
    student = Vocabulary(("e", "a", "b", "c"), (b"", b"a", b"b", b"c"), frozenset({0}), 0)
    teacher = Vocabulary(("e", "ab", "cab"), (b"", b"ab", b"cab"), frozenset({0}), 0)
    found = {
        (one, other): share
        for one, other, share in zip(
            *projection(student, teacher, common_entries(student, teacher)), strict=True
        )
    }
    a = {1: 1 / 1.1, 2: 0.1 / 1.11}
    assert found[1, 1] == pytest.approx(a[1] / sum(a.values()))
    assert found[1, 2] == pytest.approx(a[2] / sum(a.values()))
    assert found[3, 2] == pytest.approx(1)


def test_at_most_four_pieces_and_four_entries_of_a_row() -> None:
    student = Vocabulary(("e", "abcdef"), (b"", b"abcdef"), frozenset({0}), 0)
    letters = [bytes([letter]) for letter in b"abcdef"]
    teacher = Vocabulary(("e", *"abcdef"), (b"", *letters), frozenset({0}), 0)
    source, target, weight = projection(student, teacher, (np.array([0]), np.array([0])))
    assert target[source == 1].tolist() == [1, 2, 3, 4]
    assert weight[source == 1].tolist() == pytest.approx(
        [1 / 1.111, 0.1 / 1.111, 0.01 / 1.111, 0.001 / 1.111]
    )


def test_rows_sum_to_1() -> None:
    chance = np.random.default_rng(0)
    texts = sorted({bytes(chance.choice([*b"abc"], size=chance.integers(1, 5))) for _ in range(60)})
    sides = []
    for part in (texts[::2], texts[1::3]):
        sides.append(
            Vocabulary(("e", *map(str, part)), (b"", *part), frozenset({0}), 0),
        )
    source, _, weight = projection(*sides, common_entries(*sides))
    sums = np.bincount(source, weight)
    assert np.allclose(sums[sums > 0], 1)


def test_a_tokenizer_cuts_a_text_its_own_way() -> None:
    """Longest first would be ab|c; where the tokenizer adds a space, its pieces are not taken."""
    student = Vocabulary(("e", "abc", "ac"), (b"", b"abc", b"ac"), frozenset({0}), 0)
    pieces = {"abc": [2, 3], "ac": [5, 4]}
    teacher = Vocabulary(
        ("e", "ab", "a", "bc", "c", " a"),
        (b"", b"ab", b"a", b"bc", b"c", b" a"),
        frozenset({0}),
        0,
        encode=lambda texts: [pieces.get(text, []) for text in texts],
    )
    source, target, _ = projection(student, teacher, (np.array([0]), np.array([0])))
    assert target[source == 1].tolist() == [2, 3]
    assert target[source == 2].tolist() == [2, 4]


def test_special_tokens_go_to_those_with_similar_names() -> None:
    student = Vocabulary(("</s>", "<|user|>", "<unused7>"), (b"",) * 3, frozenset({0, 1, 2}), 0)
    teacher = Vocabulary(
        ("</s>", "<start_of_user>", "<user>", "a", "<unused7x>"),
        (b"", b"", b"", b"a", b""),
        frozenset({0, 1, 2, 4}),
        0,
    )
    ratios = [
        0.6 * difflib.SequenceMatcher(None, "<|user|>", name).ratio() + 0.4 * words
        for name, words in (("</s>", 0), ("<start_of_user>", 1 / 2), ("<user>", 1))
    ]
    assert similarity("<|user|>", "<user>") == pytest.approx(ratios[2])
    source, target, weight = projection(student, teacher, common_entries(student, teacher))
    mine = source == 1
    assert weight[mine].tolist() == pytest.approx([ratio / sum(ratios) for ratio in ratios])
    assert target[mine].tolist() == [0, 1, 2]
    assert 2 not in source  # it stands for nothing


def test_common_entries_of_the_hybrid_form() -> None:
    """Of two students' entries for one of the teacher's, the larger weight; the first of equals."""
    source, target = np.array([0, 1, 2, 3, 3, 4]), np.array([5, 5, 6, 7, 8, 6])
    ours, theirs = common_by((source, target, np.array([0.7, 0.9, 1.0, 0.55, 0.45, 1.0])))
    assert ours.tolist() == [1, 2]
    assert theirs.tolist() == [5, 6]
