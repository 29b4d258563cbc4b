"""Interface and registry of bridges between two tokenizers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adakd.data.vocabulary import Vocabulary
from adakd.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Side:
    """One model's part of a group of M units, whose n tokens stand one after the other."""

    logits: "Tensor"
    """Logits that predict these tokens, ``(n, V)``, in float32 or float64."""
    ids: "Tensor"
    """The tokens themselves, ``(n,)``."""
    unit: "Tensor"
    """The unit of each token, ``(n,)``: ascending, from 0."""
    first: "Tensor"
    """The first token of each unit, ``(M,)``."""
    last: "Tensor"
    """The last token of each unit, ``(M,)``."""


class Bridge:
    r"""Turns the outputs of two models with different tokenizers into comparable distributions.

    A response is cut into *units*: runs of tokens that stand for the same text on either side. In
    each unit :math:`i` the bridge gives two distributions :math:`\tilde q_i, \tilde p_i` over K
    *shared entries*. The divergence, the adaptive method and the mean then go over the M units as
    they otherwise go over tokens.

    Registered with ``@bridge("name")``; the keyword-only parameters of a subclass are its settings.
    This base class aligns at every boundary that both tokenizations have, and compares entries
    with the same text, at the first token of each unit.
    """

    direct: bool = False
    """Whether every unit is one token on either side, and the shared entries are :attr:`columns`
    as they are. The LM heads are then cut to these, and :meth:`rows` is not needed."""
    student: Vocabulary
    teacher: Vocabulary
    columns: tuple[Array, Array]
    """Ids of the entries that mean the same in both vocabularies, ``(K,)`` each."""
    column_of: Array
    """For each of the student's entries its place in :attr:`columns`, ``(V,)``; -1 if it has none.
    """

    def connect(self, student: Vocabulary, teacher: Vocabulary) -> None:
        """Prepare for two vocabularies, once for a run."""
        self.student, self.teacher = student, teacher
        self.pair(common_entries(student, teacher))

    def pair(self, columns: tuple[Array, Array]) -> None:
        """Set the pairs of entries that mean the same: their ids in both vocabularies."""
        self.columns = columns
        self.column_of = np.full(len(self.student), -1)
        self.column_of[columns[0]] = np.arange(len(columns[0]))

    def others(self) -> tuple[Array, Array]:
        """Return the ids of the entries of both vocabularies that are part of no pair."""
        ours, theirs = self.columns
        return unpaired(self.student, ours), unpaired(self.teacher, theirs)

    def align(self, student: Array, teacher: Array) -> Array:
        """Return the units of a response, ``(M, 4)``, a pure function of its tokens.

        Args:
            student: the response in the student's token ids, with its end token if it has one.
            teacher: the same in the teacher's.

        Returns:
            For each unit the positions of the student's first token and of the one after its last,
            then the same for the teacher; ascending, without overlaps.
        """
        return common_units(student, teacher, self.student, self.teacher)

    def align_all(self, responses: Sequence[tuple[Array, Array]]) -> list[Array]:
        """Return the units of some responses, each as :meth:`align` has it; one call may be faster.

        Args:
            responses: the student's and the teacher's tokens of each.
        """
        return [self.align(*tokens) for tokens in responses]

    def rows(self, student: Side, teacher: Side) -> "tuple[Tensor, Tensor]":
        r"""Return :math:`\log \tilde q` and :math:`\log \tilde p` of some units, ``(M, K)`` each.

        Differentiable by the student's logits. A row may sum to less than 1: the rest is the mass
        that the bridge cannot compare, which the report shows; the loss renormalises the row. A
        row depends on its unit alone, not on the others that it is computed with.
        """
        ours, theirs = (
            entries_of(rows_of(side.logits.log_softmax(-1), side.first), columns)
            for side, columns in zip((student, teacher), self.columns, strict=True)
        )
        return ours, theirs

    def labels(self, student: Array) -> Array:
        """Return the shared entry that stands for the text itself in each unit, ``(M,)``.

        Args:
            student: ids of the first token of each unit, ``(M,)``.
        """
        found: Array = self.column_of[student].clip(min=0)
        return found


bridge: Registry[Callable[..., Bridge]] = Registry("bridge")


def rows_of(values: "Tensor", tokens: "Tensor") -> "Tensor":
    """Return the rows of some tokens; the values themselves where these are all of them."""
    return values if len(tokens) == len(values) else values.index_select(0, tokens)


def entries_of(values: "Tensor", columns: Array) -> "Tensor":
    """Return some entries of every row, the same ones."""
    import torch

    # In PyTorch 2.13 on a CPU a gather is four times as fast as the index operations.
    entries = torch.as_tensor(columns, device=values.device)
    return values.gather(-1, entries.expand(len(values), -1))


def unit_sums(values: "Tensor", side: Side) -> "Tensor":
    """Return the sums over the tokens of each unit, ``(M, ...)``, of values ``(n, ...)``."""
    if len(side.first) == len(values):
        return values
    shape = len(side.first), *values.shape[1:]
    return values.new_zeros(shape).index_add(0, side.unit, values)


def complement(logarithms: "Tensor") -> "Tensor":
    r"""Return :math:`\log (1 - e^x)` of values :math:`x` of at most -1e-7."""
    return (-logarithms.expm1()).log()


def common_entries(student: Vocabulary, teacher: Vocabulary) -> tuple[Array, Array]:
    """Return the ids of entries that mean the same in both vocabularies, ``(K,)`` each.

    The end tokens are a pair. Special tokens are one if they have the same name, other entries if
    they have the same text: with the same name first, since a text may have several entries. The
    pairs are in the order of the student's ids.
    """
    if student == teacher:
        every = np.arange(len(student))
        return every, every
    pairs = {student.end: teacher.end}
    taken = {teacher.end}
    by_name, by_text = dict[tuple[str, bytes], int](), dict[bytes, int]()
    for number, (name, piece) in enumerate(zip(teacher.names, teacher.pieces, strict=True)):
        by_name[name, piece] = number
        if piece:
            by_text[piece] = number  # the last: SentencePiece has single bytes before letters
    entries = [*enumerate(zip(student.names, student.pieces, strict=True))]
    for number, (name, piece) in entries:
        found = by_name.get((name, piece))
        if found is not None and found not in taken and number not in pairs:
            pairs[number] = found
            taken.add(found)
    for number, (_, piece) in entries[::-1]:
        found = by_text.get(piece)
        if found is not None and found not in taken and number not in pairs:
            pairs[number] = found
            taken.add(found)
    ours = np.array(sorted(pairs), np.int64)
    return ours, np.array([pairs[number] for number in ours.tolist()], np.int64)


def common_units(student: Array, teacher: Array, ours: Vocabulary, theirs: Vocabulary) -> Array:
    """Return the finest units that are the same text on both sides, ``(M, 4)``.

    A unit ends wherever both tokenizations have a boundary, in bytes of the text. A space that
    SentencePiece puts before a text is no part of it, and where one side has no spaces, they count
    on neither. Where one side is cut short, units end there; where the texts differ, as by
    normalisation, they go on behind. The end tokens are a unit if both sides have theirs and all
    of the text is the same.
    """
    ended = has_end(student, ours) and has_end(teacher, theirs)
    mine, other = without_end(student, ours), without_end(teacher, theirs)
    spaced = ours.spaced and theirs.spaced
    text, ends = _written(mine, ours, spaced)
    there, stops = _written(other, theirs, spaced)
    blocks, units = equal_parts(text, there), list[Array]()
    for at, to, length in blocks:
        begins = not units  # a space that is skipped before the text is no part of it
        shared = _boundaries(ends, at, begins), _boundaries(stops, to, begins)
        places, one, two = np.intersect1d(*shared, return_indices=True)
        inside = (places >= 0) & (places <= length)
        one, two = one[inside], two[inside]
        units.append(np.stack([one[:-1], one[1:], two[:-1], two[1:]], 1))
    at, to, length = blocks[0]
    if ended and length == len(text) - at == len(there) - to:
        units.append(np.array([[len(mine), len(mine) + 1, len(other), len(other) + 1]]))
    return np.concatenate(units).astype(np.int64)


def _written(ids: Array, vocabulary: Vocabulary, spaced: bool) -> tuple[bytes, Array]:
    """Return the text of some tokens, with or without its spaces, and the end of each in it."""
    if spaced:
        return vocabulary.text(ids), np.cumsum(vocabulary.lengths[ids])
    pieces = [b"".join(vocabulary.pieces[token].split()) for token in ids.tolist()]
    return b"".join(pieces), np.cumsum([len(piece) for piece in pieces], dtype=np.int64)


def _boundaries(ends: Array, start: int, begins: bool) -> Array:
    """Return the boundaries of tokens, by their distance from a place that may begin the text."""
    return np.concatenate([[0 if begins else -start], ends - start])


def has_end(ids: Array, vocabulary: Vocabulary) -> bool:
    """Return whether a response has its end token."""
    return bool(len(ids) and ids[-1] == vocabulary.end)


def without_end(ids: Array, vocabulary: Vocabulary) -> Array:
    """Return a response without the end token, if it has one."""
    return ids[:-1] if has_end(ids, vocabulary) else ids


def unpaired(vocabulary: Vocabulary, ids: Array) -> Array:
    """Return the ids of the entries that are not among some."""
    return np.setdiff1d(np.arange(len(vocabulary)), ids)


def begin_alike(student: bytes, teacher: bytes) -> tuple[int, tuple[int, int]]:
    """Return the bytes in which two texts begin alike, and those to skip before them on each side.

    One of them may have a space more at its start.
    """
    tried = [(_common_length(student, teacher), (0, 0))]
    if tried[0][0] < min(len(student), len(teacher)):
        tried += [(_common_length(student[1:], teacher), (1, 0))] * student.startswith(b" ")
        tried += [(_common_length(student, teacher[1:]), (0, 1))] * teacher.startswith(b" ")
    return max(tried, key=lambda found: found[0])


WINDOW, RESUMED = 64, 4
"""Bytes within which texts that differ are compared again, and those that must be equal there."""


def equal_parts(one: bytes, other: bytes) -> list[tuple[int, int, int]]:
    """Return the parts of two texts that are equal: their places in both, and their length.

    The first begins both texts, and may be empty. After a difference the texts are equal again
    where the fewest bytes are skipped.
    """
    length, (at, to) = begin_alike(one, other)
    parts = [(at, to, length)]
    while at + length < len(one) and to + length < len(other):
        at, to = at + length, to + length
        found = _resumed(one, other, at, to)
        if found is None:
            break
        at, to = found
        length = _common_length(one[at:], other[to:])
        parts.append((at, to, length))
    return parts


def _resumed(one: bytes, other: bytes, at: int, to: int) -> tuple[int, int] | None:
    """Return the next places where two texts are equal, if there are any nearby."""
    for skipped in range(1, WINDOW):
        for more in sorted(range(skipped + 1), key=lambda part: abs(2 * part - skipped)):
            start, first = at + more, to + skipped - more
            found = one[start : start + RESUMED]
            if len(found) == RESUMED and found == other[first : first + RESUMED]:
                return start, first
    return None


def _common_length(one: bytes, other: bytes) -> int:
    """Return the number of bytes in which two texts begin alike."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    parts = (np.frombuffer(text[:shorter], np.uint8) for text in (one, other))
    return int(np.argmax(next(parts) != next(parts)))
