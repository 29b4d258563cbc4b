"""Ends of units without bias: by hand, and against a restatement of its definition."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adakd.bridges import ALM, bridge
from adakd.bridges.bias import Bias
from adakd.data.vocabulary import Vocabulary
from adakd.registry import Spec


def vocabulary(texts: list[str], shares: list[float] | None = None) -> Vocabulary:
    """Return one with an end token first, which has no share."""
    return Vocabulary(
        ("</s>", *texts),
        (b"", *(text.encode() for text in texts)),
        frozenset({0}),
        0,
        shares=None if shares is None else np.array([0.0, *shares]),
    )


STUDENT = vocabulary(["a", "b", "ab", "c"], [0.4, 0.3, 0.2, 0.1])
TEACHER = vocabulary(["a", "b", "c"], [0.5, 0.3, 0.2])
"""After its a the student has no b, since it would have written ab; the teacher may."""


def units(
    one: Vocabulary, other: Vocabulary, sides: tuple[list[int], list[int]], **more: float
) -> Any:
    made: ALM = bridge.build(Spec(name="alm", **more))
    made.connect(one, other)
    return made.align(*(np.array(side) for side in sides)).tolist()


@pytest.mark.parametrize(
    ("bias", "wanted"),
    [
        (1e-4, [[0, 2, 0, 2], [2, 3, 2, 3], [3, 4, 3, 4]]),
        (0.19, [[0, 2, 0, 2], [2, 3, 2, 3], [3, 4, 3, 4]]),
        (0.21, [[k, k + 1, k, k + 1] for k in range(4)]),
        (1, [[k, k + 1, k, k + 1] for k in range(4)]),
    ],
)
def test_a_unit_that_one_side_alone_could_have_gone_on_from_is_joined(
    bias: float, wanted: list[list[int]]
) -> None:
    """a|c|b|</s>: of the student's tokens 0.2 are ab."""
    assert units(STUDENT, TEACHER, ([1, 4, 2, 0], [1, 3, 2, 0]), bias=bias) == wanted
    there = [[*unit[2:], *unit[:2]] for unit in wanted]
    assert units(TEACHER, STUDENT, ([1, 3, 2, 0], [1, 4, 2, 0]), bias=bias) == there


def test_the_last_text_of_a_response_is_a_unit() -> None:
    assert units(STUDENT, TEACHER, ([4, 1, 0], [3, 1, 0])) == [
        [0, 1, 0, 1],
        [1, 2, 1, 2],
        [2, 3, 2, 3],
    ]
    assert units(STUDENT, TEACHER, ([4, 1], [3, 1])) == [[0, 1, 0, 1], [1, 2, 1, 2]]


def test_responses_have_the_same_units_together_as_alone() -> None:
    responses = [
        (np.array(sides[0], np.int64), np.array(sides[1], np.int64))
        for sides in (([1, 4, 2, 0], [1, 3, 2, 0]), ([4, 1], [3, 1]), ([], []), ([2, 3], [2, 1, 2]))
    ]
    found = []
    for together in (True, False):
        made: ALM = bridge.build(Spec(name="alm"))
        made.connect(STUDENT, TEACHER)
        if together:
            found.append([of.tolist() for of in made.align_all(responses)])
        else:
            found.append([made.align(*sides).tolist() for sides in responses])
    assert found[0] == found[1]
    assert found[0][0] == [[0, 2, 0, 2], [2, 3, 2, 3], [3, 4, 3, 4]]


def test_what_both_sides_exclude_is_no_bias() -> None:
    both = vocabulary(["a", "b", "ab", "c"], [0.3, 0.3, 0.3, 0.1])
    sides = [1, 4, 2, 0], [1, 4, 2, 0]
    assert units(STUDENT, both, sides) == [[k, k + 1, k, k + 1] for k in range(4)]


def test_an_entry_that_the_training_rows_do_not_have_is_no_bias() -> None:
    never = replace(STUDENT, shares=np.array([0, 0.5, 0.4, 0, 0.1]))
    assert len(units(never, TEACHER, ([1, 4, 2, 0], [1, 3, 2, 0]))) == 4


def _bias(own: Vocabulary, token: int, other: Vocabulary, other_token: int) -> float:
    """Return the sum over all texts e that own alone writes with a token over the boundary."""
    covers = [_cover(own, token), _cover(other, other_token)]
    assert own.shares is not None
    return sum(own.shares[last] for text, last in covers[0].items() if text not in covers[1])


def _cover(of: Vocabulary, token: int) -> dict[bytes, int]:
    text, found = of.pieces[token], {}
    for start in range(len(text)):
        for number, piece in enumerate(of.pieces):
            if piece.startswith(text[start:]) and len(piece) > len(text) - start:
                before, whole = of.cut([text[:start], text[:start] + piece])
                if (start == 0 or before) and whole == [*before, number]:
                    found[piece[len(text) - start :]] = number
    return found


def test_the_bias_is_that_of_its_definition() -> None:
    chance = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        sides = []
        for _ in range(2):
            words = {"a", "b"} | {
                "".join(chance.choice([*"ab"], size=chance.integers(2, 5))) for _ in range(5)
            }
            shares = chance.dirichlet(np.ones(len(words)))
            sides.append(vocabulary(sorted(words), shares.tolist()))
        pairs = [(token, 1) for token in range(1, len(sides[0]))]
        exact = [
            max(_bias(sides[0], one, sides[1], two), _bias(sides[1], two, sides[0], one))
            for one, two in pairs
        ]
        for threshold in {most * (1 - 1e-9) for most in exact} | {most + 1e-9 for most in exact}:
            found = Bias(*sides, threshold).exceeded(pairs)
            assert [found[pair] for pair in pairs] == [most > threshold for most in exact]
            seen |= {*found.values()}
    assert seen == {True, False}
