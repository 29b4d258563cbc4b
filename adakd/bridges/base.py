"""Interface and registry of bridges between two tokenizers."""

from collections.abc import Callable
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
        ours, theirs = (
            np.setdiff1d(np.arange(len(side)), columns)
            for side, columns in zip((self.student, self.teacher), self.columns, strict=True)
        )
        return ours, theirs

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

    def rows(self, student: Side, teacher: Side) -> "tuple[Tensor, Tensor]":
        r"""Return :math:`\log \tilde q` and :math:`\log \tilde p` of some units, ``(M, K)`` each.

        Differentiable by the student's logits. A row may sum to less than 1: the rest is the mass
        that the bridge cannot compare, which the report shows; the loss renormalises the row. A
        row depends on its unit alone, not on the others that it is computed with.
        """
        columns = (student.ids.new_tensor(of) for of in self.columns)
        ours, theirs = (
            side.logits.log_softmax(-1)[side.first].index_select(-1, of)
            for side, of in zip((student, teacher), columns, strict=True)
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


def unit_sums(values: "Tensor", side: Side) -> "Tensor":
    """Return the sums over the tokens of each unit, ``(M, ...)``, of values ``(n, ...)``."""
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
    SentencePiece puts before a text is no part of it. Where one side is cut short, or the texts
    differ from some place on, units end there. The end tokens are a unit if both sides have theirs.
    """
    ended = bool(len(student) and len(teacher))
    ended = ended and student[-1] == ours.end and teacher[-1] == theirs.end
    mine, other = without_end(student, ours), without_end(teacher, theirs)
    texts = ours.text(mine), theirs.text(other)
    ends = np.cumsum(ours.lengths[mine]), np.cumsum(theirs.lengths[other])
    same, shift = begin_alike(*texts)
    ends = ends[0] - shift[0], ends[1] - shift[1]
    _, at, to = np.intersect1d(*ends, return_indices=True)
    inside = (ends[0][at] <= same) & (ends[0][at] > 0)
    at, to = at[inside] + 1, to[inside] + 1
    units = np.stack([_starts(at), at, _starts(to), to], 1)
    if ended and same == len(texts[0]) - shift[0] == len(texts[1]) - shift[1]:
        last = [len(mine), len(mine) + 1, len(other), len(other) + 1]
        units = np.concatenate([units, [last]])
    return units.astype(np.int64)


def without_end(ids: Array, vocabulary: Vocabulary) -> Array:
    """Return a response without the end token, if it has one."""
    return ids[:-1] if len(ids) and ids[-1] == vocabulary.end else ids


def _starts(ends: Array) -> Array:
    return np.concatenate([[0], ends])[:-1]


def begin_alike(student: bytes, teacher: bytes) -> tuple[int, tuple[int, int]]:
    """Return the bytes in which two texts begin alike, and those to skip before them on each side.

    One of them may have a space more at its start.
    """
    tried = [(_common_length(student, teacher), (0, 0))]
    if tried[0][0] < min(len(student), len(teacher)):
        tried += [(_common_length(student[1:], teacher), (1, 0))] * student.startswith(b" ")
        tried += [(_common_length(student, teacher[1:]), (0, 1))] * teacher.startswith(b" ")
    return max(tried, key=lambda found: found[0])


def _common_length(one: bytes, other: bytes) -> int:
    """Return the number of bytes in which two texts begin alike."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    parts = (np.frombuffer(text[:shorter], np.uint8) for text in (one, other))
    return int(np.argmax(next(parts) != next(parts)))
