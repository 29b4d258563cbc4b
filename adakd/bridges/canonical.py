"""Units of similar texts, by Needleman-Wunsch over canonical strings of tokens."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from adakd.bridges.base import Array, begin_alike, has_end, without_end
from adakd.data.vocabulary import Vocabulary

EQUAL, MERGED, GAP = 3.0, 1.5, -1.5
"""Score of a pair of equal strings, and the negative of unequal ones; of each token that is merged
into a pair; and of a token without a pair."""
MOST = 4
"""Most tokens that are merged into one."""
ANCHOR = 3
"""Tokens in a row that must occur once on either side to anchor the alignment."""
TAIL = 0.2
"""Share of the pairs, at the end, among which unequal ones are not joined."""
REPAIRED = 10
"""Most pairs that are aligned anew as one."""
_SHORTER = {b" ,": b",", b" .": b".", b" ;": b";", b" :": b":", b" \n": b"\n"}

Strings = Sequence[bytes]
Pair = tuple[int, int, int, int]
"""The student's first token, the one after its last, and the same of the teacher; a side may be
empty."""


def similar_units(student: Array, teacher: Array, ours: Vocabulary, theirs: Vocabulary) -> Array:
    """Return units of texts that are the same or take the same place, ``(M, 4)``.

    Args:
        student: a response in the student's token ids.
        teacher: likewise.
        ours: the student's vocabulary.
        theirs: the teacher's.
    """
    ended = has_end(student, ours) and has_end(teacher, theirs)
    sides = without_end(student, ours), without_end(teacher, theirs)
    _, skipped = begin_alike(ours.text(sides[0]), theirs.text(sides[1]))
    found = [
        canonical(ids, vocabulary, skip)
        for ids, vocabulary, skip in zip(sides, (ours, theirs), skipped, strict=True)
    ]
    (one, places), (other, others) = found
    units = [
        (places[start], places[stop], others[first], others[last])
        for start, stop, first, last in aligned(one, other)
        if start < stop and first < last
    ]
    if ended:
        units.append((len(sides[0]), len(student), len(sides[1]), len(teacher)))
    return np.array(units, np.int64).reshape(-1, 4)


def canonical(
    ids: Array, vocabulary: Vocabulary, skipped: int = 0
) -> tuple[list[bytes], list[int]]:
    """Return canonical strings of tokens, and the places where each begins and the last ends.

    A string is the text of a token; of several, where each has a part of a letter. A space before a
    comma, a period, a colon or the end of a line is left out. A special token is its name.

    Args:
        ids: tokens of a response.
        vocabulary: that they are of.
        skipped: bytes of a space that the tokenizer put before the text.
    """
    strings, starts, text, start = list[bytes](), list[int](), b"", 0
    for place, token in enumerate(ids.tolist()):
        piece = vocabulary.pieces[token]
        text += piece if piece or text else b"\0" + vocabulary.names[token].encode()
        whole = place + 1 == len(ids) or not _inside_letter(text)
        if whole:
            text, skipped = text[skipped:], 0
            strings.append(_SHORTER.get(text, text))
            starts.append(start)
            text, start = b"", place + 1
    return strings, [*starts, len(ids)]


def _inside_letter(text: bytes) -> bool:
    """Return whether a text ends before the last byte of a letter."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.end == len(text) and error.reason == "unexpected end of data"
    return False


def aligned(one: Strings, other: Strings) -> list[Pair]:
    """Return the pairs of two sequences of strings, in order; together they are all of both.

    Runs of three strings that occur once on either side are anchors. Between them the sum of scores
    is the largest possible. Pairs of unequal strings that follow each other are joined, and aligned
    anew with what follows them if that makes their texts equal.
    """
    pairs, at, to = list[Pair](), 0, 0
    for first, second in _anchors(one, other):
        pairs += best_pairs(one, other, (at, first, to, second))
        pairs += [(first + k, first + k + 1, second + k, second + k + 1) for k in range(ANCHOR)]
        at, to = first + ANCHOR, second + ANCHOR
    pairs += best_pairs(one, other, (at, len(one), to, len(other)))
    return _repaired(one, other, _joined(one, other, pairs))


def _anchors(one: Strings, other: Strings) -> Iterator[tuple[int, int]]:
    """Yield the places of runs that occur once on either side; they do not overlap or cross."""
    ours, theirs = _single_runs(one), _single_runs(other)
    common = sorted((at, theirs[run]) for run, at in ours.items() if run in theirs)
    kept, taken = list[tuple[int, int]](), set[int]()
    for at, to in common:
        if (not kept or at >= kept[-1][0] + ANCHOR) and taken.isdisjoint(range(to, to + ANCHOR)):
            kept.append((at, to))
            taken.update(range(to, to + ANCHOR))
    last = -1
    for at, to in kept:
        if to > last:
            yield at, to
            last = to + ANCHOR - 1


def _single_runs(strings: Strings) -> dict[tuple[bytes, ...], int]:
    """Return the place of each run that occurs once."""
    places: dict[tuple[bytes, ...], list[int]] = {}
    for start in range(len(strings) - ANCHOR + 1):
        places.setdefault(tuple(strings[start : start + ANCHOR]), []).append(start)
    return {run: found[0] for run, found in places.items() if len(found) == 1}


def best_pairs(one: Strings, other: Strings, within: Pair) -> list[Pair]:
    """Return the pairs of the largest sum of scores between some places, by Needleman-Wunsch."""
    start, stop, first, last = within
    one, other = one[start:stop], other[first:last]
    merged, merges = _merged(one), _merged(other)
    score = [GAP * to for to in range(len(other) + 1)]
    scores, steps = [score], [[(0, 1)] * (len(other) + 1)]
    for at in range(1, len(one) + 1):
        before, here = scores[-1], [GAP * at]
        moves = [(1, 0)]
        own, several = one[at - 1], merged[at - 1]
        for to in range(1, len(other) + 1):
            best = before[to - 1] + (EQUAL if own == other[to - 1] else -EQUAL)
            move = (1, 1)
            if before[to] + GAP > best:
                best, move = before[to] + GAP, (1, 0)
            if here[to - 1] + GAP > best:
                best, move = here[to - 1] + GAP, (0, 1)
            count = merges[to - 1].get(own)
            if count and before[to - count] + MERGED * count > best:
                best, move = before[to - count] + MERGED * count, (1, count)
            count = several.get(other[to - 1])
            if count and scores[at - count][to - 1] + MERGED * count > best:
                best, move = scores[at - count][to - 1] + MERGED * count, (count, 1)
            here.append(best)
            moves.append(move)
        scores.append(here)
        steps.append(moves)
    return _traced(steps, within)


def _merged(strings: Strings) -> list[dict[bytes, int]]:
    """Return, for each string, the texts of it with those before it, and how many they are."""
    return [
        {b"".join(strings[at - count : at]): count for count in range(min(at, MOST), 1, -1)}
        for at in range(1, len(strings) + 1)
    ]


def _traced(steps: Sequence[Sequence[tuple[int, int]]], within: Pair) -> list[Pair]:
    """Return the pairs that lead to the last cell of a table of steps."""
    start, stop, first, last = within
    pairs = []
    while stop > start or last > first:
        down, right = steps[stop - start][last - first]
        pairs.append((stop - down, stop, last - right, last))
        stop, last = stop - down, last - right
    return pairs[::-1]


def _equal(one: Strings, other: Strings, pair: Pair) -> bool:
    start, stop, first, last = pair
    return b"".join(one[start:stop]) == b"".join(other[first:last])


def _joined(one: Strings, other: Strings, pairs: Sequence[Pair]) -> list[Pair]:
    """Join unequal pairs that follow each other, but near the end."""
    end = int(len(pairs) * (1 - TAIL))
    made = list[Pair]()
    numbered = enumerate(pairs)
    for unequal, run in groupby(numbered, lambda at: at[0] < end and not _equal(one, other, at[1])):
        found = [pair for _, pair in run]
        made += [_union(found)] if unequal else found
    return made


def _union(pairs: Sequence[Pair]) -> Pair:
    return pairs[0][0], pairs[-1][1], pairs[0][2], pairs[-1][3]


def _repaired(one: Strings, other: Strings, pairs: Sequence[Pair]) -> list[Pair]:
    """Align unequal pairs anew with those that follow, as few as make the texts equal."""
    made, at = list[Pair](), 0
    while at < len(pairs):
        unions = (
            (stop, _union(pairs[at:stop]))
            for stop in range(at + 2, min(at + REPAIRED, len(pairs)) + 1)
        )
        bad = not _equal(one, other, pairs[at])
        found = next((of for of in unions if _equal(one, other, of[1])), None) if bad else None
        if found is None:
            made += _single(one, other, pairs[at])
            at += 1
            continue
        at, whole = found
        parts = best_pairs(one, other, whole)
        made += parts if all(_equal(one, other, part) for part in parts) else [whole]
    return made


def _single(one: Strings, other: Strings, pair: Pair) -> list[Pair]:
    """Return a pair of several strings as pairs of one, if they are the same strings."""
    start, stop, first, last = pair
    if list(one[start:stop]) != list(other[first:last]):
        return [pair]
    return [(start + k, start + k + 1, first + k, first + k + 1) for k in range(stop - start)]
