"""Where a unit may end: not where one tokenizer alone could have gone on within a token."""

from bisect import bisect_left
from functools import cached_property

import numpy as np

from adakd.bridges.base import Array
from adakd.data.vocabulary import Vocabulary


def unbiased_units(
    units: Array,
    sides: tuple[Array, Array],
    extensions: "tuple[Extensions, Extensions]",
    threshold: float,
) -> Array:
    r"""Return units that are joined with the next ones until they end without bias.

    A token that ends a unit says of what follows that it does not begin with any text :math:`e` by
    which the tokenizer would have made that token longer. Where the two tokenizers exclude
    different texts, both probabilities are of different events. The *bias* of a side is the share
    of the tokens that only it has for such an :math:`e`.

    Args:
        units: common units of a response, ``(M, 4)``.
        sides: the student's and the teacher's tokens.
        extensions: of the same vocabularies.
        threshold: the largest bias of either side.
    """
    if not len(units):
        return units
    last = sides[0][units[:, 1] - 1].tolist(), sides[1][units[:, 3] - 1].tolist()
    ends = [
        any(of.special(token) for of, token in zip(extensions, tokens, strict=True))
        or not _biased(extensions, tokens, threshold)
        for tokens in zip(*last, strict=True)
    ]
    ends[-1] = True
    if len(units) > 1 and extensions[0].vocabulary.end == last[0][-1]:
        ends[-2] = True  # an end token is a unit of its own
    stops = np.flatnonzero(ends)
    starts = np.concatenate([[0], stops[:-1] + 1])
    return np.stack([units[starts, 0], units[stops, 1], units[starts, 2], units[stops, 3]], 1)


class Extensions:
    """The texts by which tokens of one vocabulary could be longer."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._likely: dict[int, dict[bytes, float]] = {}
        self._known: dict[tuple[int, bytes], float] = {}

    def special(self, token: int) -> bool:
        """Return whether a token stands for no text."""
        return not self.vocabulary.pieces[token]

    def likely(self, token: int) -> dict[bytes, float]:
        """Return texts that may follow in one token with a token's end, the most frequent first.

        For each, the share of the most frequent token that would hold it: the share by
        :meth:`share` is that of one of them, or 0.
        """
        if token not in self._likely:
            text, found = self.vocabulary.pieces[token], dict[bytes, float]()
            for start in range(len(text)):
                tail = text[start:]
                for place in range(bisect_left(self._texts, tail), len(self._texts)):
                    if not self._texts[place].startswith(tail):
                        break
                    more, share = self._texts[place][len(tail) :], self._shares[place]
                    if more:
                        found[more] = max(share, found.get(more, 0.0))
            self._likely[token] = dict(sorted(found.items(), key=lambda one: -one[1]))
        return self._likely[token]

    def share(self, token: int, more: bytes) -> float:
        """Return the share of the token that a token's end and a text after it are written with.

        It is 0 where the text begins a new token, or where what is before is cut differently then.
        """
        if (token, more) not in self._known:
            self._known[token, more] = self._share(self.vocabulary.pieces[token], more)
        return self._known[token, more]

    def _share(self, text: bytes, more: bytes) -> float:
        (ids,) = self.vocabulary.cut([text + more])
        if not ids:
            return 0.0
        start = len(text) + len(more) - len(self.vocabulary.pieces[ids[-1]])
        if not 0 <= start < len(text):
            return 0.0
        (before,) = self.vocabulary.cut([text[:start]]) if start else ([],)
        return float(self._frequency[ids[-1]]) if before == ids[:-1] else 0.0

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


def _biased(
    extensions: tuple[Extensions, Extensions], tokens: tuple[int, ...], threshold: float
) -> bool:
    return any(
        bias_exceeds(
            extensions[side], tokens[side], extensions[1 - side], tokens[1 - side], threshold
        )
        for side in (0, 1)
    )


def bias_exceeds(
    own: Extensions, token: int, other: Extensions, other_token: int, threshold: float
) -> bool:
    """Return whether the texts that one side alone excludes have a larger share of its tokens."""
    likely, total = own.likely(token), 0.0
    rest = sum(likely.values())
    for more, share in likely.items():
        if total + rest <= threshold:
            return False
        rest -= share
        if found := own.share(token, more):
            total += 0.0 if other.share(other_token, more) else found
        if total > threshold:
            return True
    return False
