"""Where a unit may end: not where one tokenizer alone could have gone on within a token."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import merge

import numpy as np

from adakd.bridges.base import Array
from adakd.data.vocabulary import Vocabulary

FIRST, MORE = 4, 2
"""Texts of a question that are looked at first, and how many times as many in the next round."""
TOGETHER = 256
"""Questions that are asked together: enough for a tokenizer to be busy, and few for the memory."""


class Bias:
    r"""Says between which tokens a unit would end with bias.

    A token that ends a unit says of what follows that it does not begin with any text :math:`e` by
    which the tokenizer would have made that token longer. Where the two tokenizers exclude
    different texts, both probabilities are of different events. The *bias* of a side is the share
    of the tokens that only it has for such an :math:`e`.

    Args:
        student: its vocabulary.
        teacher: likewise.
        threshold: the largest bias of either side.
    """

    def __init__(self, student: Vocabulary, teacher: Vocabulary, threshold: float) -> None:
        self.sides, self.threshold = (Extensions(student), Extensions(teacher)), threshold
        self._known: dict[tuple[int, int], bool] = {}

    def unbiased_units(
        self, units: Sequence[Array], responses: Sequence[tuple[Array, Array]]
    ) -> list[Array]:
        """Return units that are joined with the next ones until they end without bias.

        Args:
            units: common units of some responses, ``(M, 4)`` each.
            responses: the student's and the teacher's tokens of each.
        """
        last = [
            [*zip(student[of[:, 1] - 1].tolist(), teacher[of[:, 3] - 1].tolist(), strict=True)]
            for of, (student, teacher) in zip(units, responses, strict=True)
        ]
        found = self.exceeded([pair for pairs in last for pair in pairs[:-1]])
        return [
            self._joined(of, pairs, found) if len(of) else of
            for of, pairs in zip(units, last, strict=True)
        ]

    def _joined(
        self, units: Array, last: Sequence[tuple[int, int]], found: dict[tuple[int, int], bool]
    ) -> Array:
        """Return the units of a response, given their last tokens."""
        ends = [not found[pair] for pair in last[:-1]] + [True]
        if len(units) > 1 and self.sides[0].vocabulary.end == last[-1][0]:
            ends[-2] = True  # an end token is a unit of its own
        stops = np.flatnonzero(ends)
        starts = np.concatenate([[0], stops[:-1] + 1])
        return np.stack([units[starts, 0], units[stops, 1], units[starts, 2], units[stops, 3]], 1)

    def exceeded(self, pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], bool]:
        """Return whether the bias of either side is above the threshold, for pairs of tokens."""
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._known]
        for start in range(0, len(new), TOGETHER):
            self._ask(new[start : start + TOGETHER])
        return self._known

    def _ask(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Ask the tokenizers about the texts of some pairs together, the most frequent first."""
        one, other = self.sides
        self._known |= dict.fromkeys(pairs, False)
        asked = [pair for pair in pairs if not (one.special(pair[0]) or other.special(pair[1]))]
        questions = [_Question(pair, one, pair[0], other, pair[1]) for pair in asked]
        questions += [_Question(pair, other, pair[1], one, pair[0]) for pair in asked]
        size = FIRST
        while questions:
            drawn = [(question, question.draw(size, self.threshold)) for question in questions]
            for of in self.sides:
                of.look_up(
                    (question.token, more)
                    for question, texts in drawn
                    if question.own is of
                    for more in texts
                )
            for of in self.sides:
                of.look_up(
                    (question.beside, more)
                    for question, texts in drawn
                    if question.other is of
                    for more in texts
                    if question.own.share(question.token, more)
                )
            for question, texts in drawn:
                question.add(texts)
                self._known[question.pair] |= question.total > self.threshold
            questions = [
                question
                for question in questions
                if question.possible > self.threshold and not self._known[question.pair]
            ]
            size *= MORE


class Extensions:
    """The texts by which tokens of one vocabulary could be longer."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._after: dict[bytes, list[tuple[float, bytes]]] = {}
        self._known: dict[int, dict[bytes, float]] = defaultdict(dict)
        self._cut: dict[bytes, list[int]] = {b"": []}

    def special(self, token: int) -> bool:
        """Return whether a token stands for no text."""
        return not self.vocabulary.pieces[token]

    def likely(self, token: int) -> tuple[Iterator[tuple[float, bytes]], float]:
        """Return texts that may follow in one token with a token's end, the most frequent first.

        Each comes with the share of a token that would hold it, and may come again with that of
        another; the sum of the shares is returned too. The share by :meth:`share` is one of them,
        or 0.
        """
        text = self.vocabulary.pieces[token]
        found = [self._beginning(text[start:]) for start in range(len(text))]
        total = sum(share for of in found for share, _ in of)
        return merge(*found, key=lambda one: -one[0]), total

    def share(self, token: int, more: bytes) -> float:
        """Return the share of the token that a token's end and a text after it are written with.

        It is 0 where the text begins a new token, or where what is before is cut differently then.
        The text has been looked up.
        """
        return self._known[token][more]

    def look_up(self, asked: Iterable[tuple[int, bytes]]) -> None:
        """Prepare the shares of texts after tokens, together."""
        pieces, tokens, texts = self.vocabulary.pieces, list[int](), list[bytes]()
        for token, more in asked:
            known = self._known[token]
            if more not in known:
                known[more] = 0.0
                tokens.append(token)
                texts.append(more)
        whole = [pieces[token] + more for token, more in zip(tokens, texts, strict=True)]
        inside = list[tuple[int, bytes, bytes, list[int]]]()
        for token, more, ids in zip(tokens, texts, self.vocabulary.cut(whole), strict=True):
            if ids:
                start = len(pieces[token]) + len(more) - len(pieces[ids[-1]])
                if 0 <= start < len(pieces[token]):
                    inside.append((token, more, pieces[token][:start], ids))
        befores = [text for text in {text for _, _, text, _ in inside} if text not in self._cut]
        self._cut |= zip(befores, self.vocabulary.cut(befores), strict=True)
        for token, more, before, ids in inside:
            if self._cut[before] == ids[:-1]:
                self._known[token][more] = float(self._frequency[ids[-1]])

    def _beginning(self, text: bytes) -> list[tuple[float, bytes]]:
        """Return how longer entries that begin with a text go on, the most frequent first."""
        if text not in self._after:
            start, length = bisect_left(self._texts, text), len(text)
            stop = bisect_right(self._texts, text, start, key=lambda entry: entry[:length])
            entries = zip(self._shares[start:stop], self._texts[start:stop], strict=True)
            found = [(share, entry[length:]) for share, entry in entries if len(entry) > length]
            self._after[text] = sorted(found, key=lambda one: -one[0])
        return self._after[text]

    @cached_property
    def _frequency(self) -> Array:
        given, count = self.vocabulary.shares, len(self.vocabulary)
        return np.full(count, 1 / count) if given is None else given

    @cached_property
    def _entries(self) -> list[tuple[bytes, float]]:
        shares = self._frequency.tolist()
        pieces = zip(self.vocabulary.pieces, shares, strict=True)
        return sorted((piece, share) for piece, share in pieces if piece and share)

    @cached_property
    def _texts(self) -> list[bytes]:
        return [text for text, _ in self._entries]

    @cached_property
    def _shares(self) -> list[float]:
        return [share for _, share in self._entries]


@dataclass
class _Question:
    """Do the texts that one side alone excludes have a larger share of its tokens?"""

    pair: tuple[int, int]
    own: Extensions
    token: int
    other: Extensions
    beside: int
    """The other side's token."""
    total: float = 0.0
    seen: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._likely, self._rest = self.own.likely(self.token)

    @property
    def possible(self) -> float:
        """The largest share that is possible yet."""
        return self.total + self._rest

    def draw(self, count: int, threshold: float) -> list[bytes]:
        """Return the next texts, as long as those behind them could change the answer."""
        found: list[bytes] = []
        while len(found) < count and self.possible > threshold:
            share, more = next(self._likely, (self._rest, b""))
            self._rest -= share
            if more and more not in self.seen:
                self.seen.add(more)
                found.append(more)
        return found

    def add(self, texts: Sequence[bytes]) -> None:
        """Add the share of some texts, which have been looked up."""
        for more in texts:
            found = self.own.share(self.token, more)
            if found and not self.other.share(self.beside, more):
                self.total += found
