"""Make pairs with a known answer from the references, to test a judge's reliability."""

import random
import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import islice, zip_longest

from adakd.config.hashing import digest
from adakd.config.judge import Asks
from adakd.judging.base import ItemText, Question
from adakd.judging.comparisons import Items
from adakd.store.records import VETTED, Case

TRUNCATED = 8
"""Fewest words of a reference to truncate: half of a shorter one may be just as good."""
SHUFFLED = 5
"""Fewest words of a reference to shuffle: a shorter one may be just as good in another order."""
_SHUFFLES = 8
_LOOP, _LOOPS = 5, 6
"""Words that a degenerate answer repeats, and how often."""
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class KnownPair:
    """An item's reference and a text that is surely worse or, in the case ``same``, identical."""

    task: str
    item: str
    case: Case
    text: ItemText
    """As shown: without the reference that is the right answer, except to rules."""
    right: str
    wrong: str

    @property
    def length_difference(self) -> int:
        """Words of the right answer minus words of the wrong one."""
        return _words(self.right) - _words(self.wrong)

    def question(self, right_first: bool, asks: Asks) -> Question:
        """Return the question in one order; a rating judge sees only the first answer."""
        first, second = (self.right, self.wrong) if right_first else (self.wrong, self.right)
        return Question(self.text, first, second if asks == "pair" else None)


def known_pairs(items: Items, count: int, by_reference: bool) -> list[KnownPair]:
    """Return `count` pairs of each case, or as many as there are; deterministic.

    Each case takes the tasks in turn and draws their items by hash. The first pair of each case
    comes first, then the second of each: the pairs of a smaller count are a prefix of those of a
    larger one.

    Args:
        items: the item texts; those without a reference give no pair.
        count: pairs of each case.
        by_reference: whether the judge only compares with the reference and must see it. To any
            other judge it would give away the right answer.
    """
    drawn = [islice(_in_turn(items, case, by_reference), count) for case in VETTED]
    return [pair for rank in zip_longest(*drawn) for pair in rank if pair is not None]


def _in_turn(items: Items, case: Case, by_reference: bool) -> Iterator[KnownPair]:
    """Yield one pair of each task, then the next of each, until all are used up."""
    tasks = [
        pairs_of_task(task, case, items[task], by_reference, longer_first=number % 2 == 0)
        for number, task in enumerate(sorted(items))
    ]
    for rank in zip_longest(*tasks):
        yield from (pair for pair in rank if pair is not None)


def pairs_of_task(
    task: str, case: Case, texts: Mapping[str, ItemText], by_reference: bool, longer_first: bool
) -> Iterator[KnownPair]:
    """Yield the pairs of one case, one for each item that has one, in an order drawn by hash.

    Args:
        task: the name of the items' set.
        case: of the pairs.
        texts: of the items.
        by_reference: as in :func:`known_pairs`.
        longer_first: whether the first wrong answer of the case ``other`` is a longer one.
    """
    usable = {
        item: text for item, text in texts.items() if any(map(str.strip, text.references[:1]))
    }
    order = sorted(usable, key=lambda item: digest(task, item, case))
    wrong = _others(task, usable, order, longer_first)
    if case != "other":
        wrong = _spoiled(task, usable, order, case)
    for item, answer in wrong:
        text, right = usable[item], usable[item].references[0]
        shown = text if by_reference else _hidden(text)
        yield KnownPair(task, item, case, shown, right, answer)


def _hidden(text: ItemText) -> ItemText:
    """Return the item without the right answer, however often it occurs in the references."""
    right = _plain(text.references[0])
    others = tuple(other for other in text.references[1:] if _plain(other) != right)
    return ItemText(text.instruction, text.input, others)


# --- the case "other" -----------------------------------------------------------------------


def _others(
    task: str, texts: Mapping[str, ItemText], order: list[str], longer_first: bool
) -> Iterator[tuple[str, str]]:
    """Yield items with another item's reference, alternately a longer and a shorter one.

    The right answers are thus as often longer as shorter, as far as the references allow: a judge
    that prefers length is wrong as often as right.
    """
    pool = _Pool(task, texts)
    waiting = {sign: deque(order) for sign in (1, -1, 0)}
    used: set[str] = set()
    sign = 1 if longer_first else -1
    while found := _first(pool, used, {wanted: waiting[wanted] for wanted in (sign, -sign, 0)}):
        yield found
        used.add(found[0])
        sign = -sign


def _first(
    pool: "_Pool", used: Set[str], waiting: Mapping[int, deque[str]]
) -> tuple[str, str] | None:
    """Return the first item with a wrong answer of the first possible sign.

    An item leaves the queue of a sign for good: it is used, or has no such answer.
    """
    for sign, queue in waiting.items():
        while queue:
            item = queue.popleft()
            if item not in used and (answer := pool.other(item, sign)) is not None:
                return item, answer
    return None


class _Pool:
    """The distinct references of a task by length."""

    def __init__(self, task: str, texts: Mapping[str, ItemText]) -> None:
        self._task = task
        self._texts = texts
        once = {_plain(texts[item].references[0]): item for item in sorted(texts)}
        self._ids = sorted(once.values(), key=lambda item: (self._length(item), item))
        self._lengths = [self._length(item) for item in self._ids]

    def other(self, item: str, sign: int) -> str | None:
        """Return a reference that is wrong here and longer (1), shorter (-1) or as long (0)."""
        low = bisect_left(self._lengths, self._length(item))
        high = bisect_right(self._lengths, self._length(item))
        ids = {1: self._ids[high:], -1: self._ids[:low], 0: self._ids[low:high]}[sign]
        start = int(digest(self._task, item, "other"), 16) % max(len(ids), 1)
        for other in ids[start:] + ids[:start]:
            if self._is_wrong(other, self._texts[item]):
                return self._texts[other].references[0]
        return None

    def _is_wrong(self, other: str, text: ItemText) -> bool:
        """Tell whether the other's reference is wrong here: another question, another answer."""
        theirs = self._texts[other]
        same_question = _plain(theirs.instruction, theirs.input) == _plain(
            text.instruction, text.input
        )
        return not same_question and _is_new(theirs.references[0], text)

    def _length(self, item: str) -> int:
        return _words(self._texts[item].references[0])


# --- the other cases ------------------------------------------------------------------------


def _spoiled(
    task: str, texts: Mapping[str, ItemText], order: list[str], case: Case
) -> Iterator[tuple[str, str]]:
    """Yield items with their reference spoiled as the case says, if that makes it worse."""
    pool = _Pool(task, texts)
    for item in order:
        reference = texts[item].references[0]
        if case == "same":
            yield item, reference
            continue
        if case in _JOINING:
            other = next(filter(None, (pool.other(item, sign) for sign in (1, -1, 0))), None)
            answer = other and _JOINING[case](reference, other)
        else:
            answer = _SPOILING[case](reference, digest(task, item, case, "words"))
        if answer is not None and _is_new(answer, texts[item]):
            yield item, answer


def _truncated(text: str, seed: str) -> str | None:
    """Return the first half of the words, with the whitespace between them."""
    words = list(_WORD.finditer(text))
    return text[: words[len(words) // 2 - 1].end()] if len(words) >= TRUNCATED else None


def _shuffled(text: str, seed: str) -> str | None:
    """Return the words shuffled, the whitespace unchanged; None if half of them stay in place."""
    words = _WORD.findall(text)
    if len(words) < SHUFFLED:
        return None
    chance = random.Random(seed)

    def in_place(order: list[str]) -> int:
        return sum(word == other for word, other in zip(words, order, strict=True))

    drawn = (chance.sample(words, len(words)) for _ in range(_SHUFFLES))
    order = min(drawn, key=in_place)
    if 2 * in_place(order) >= len(words):
        return None
    remaining = iter(order)
    return _WORD.sub(lambda _: next(remaining), text)


def _dropped(text: str, seed: str) -> str | None:
    """Return the text without every third word."""
    words = _WORD.findall(text)
    kept = (word for number, word in enumerate(words, start=1) if number % 3)
    return " ".join(kept) if len(words) >= TRUNCATED else None


def _repeated(text: str, seed: str) -> str | None:
    """Return the text with its last words over and over, as a degenerate model ends."""
    words = _WORD.findall(text)
    if len(words) < SHUFFLED:
        return None
    return f"{text} {' '.join([*words[-_LOOP:]] * _LOOPS)}"


_SPOILING: Mapping[str, Callable[[str, str], str | None]] = {
    "truncated": _truncated,
    "shuffled": _shuffled,
    "dropped": _dropped,
    "repeated": _repeated,
}


def _spliced(text: str, other: str) -> str | None:
    """Return the first half of a text with the second half of another one."""
    begun, rest = _truncated(text, ""), _WORD.findall(other)
    if begun is None or len(rest) < TRUNCATED:
        return None
    return f"{begun} {' '.join(rest[len(rest) // 2 :])}"


def _padded(text: str, other: str) -> str | None:
    """Return a text with another one behind it: longer, and partly off the question."""
    return f"{text}\n\n{other}"


_JOINING: Mapping[str, Callable[[str, str], str | None]] = {
    "spliced": _spliced,
    "padded": _padded,
}


def _is_new(answer: str, text: ItemText) -> bool:
    """Tell whether an answer differs from all of the item's references."""
    return _plain(answer) not in {_plain(reference) for reference in text.references}


def _plain(*texts: str) -> tuple[str, ...]:
    """Return the words without case, whitespace and punctuation: "Paris." equals "paris"."""
    return tuple(" ".join(re.findall(r"\w+", text.casefold())) for text in texts)


def _words(text: str) -> int:
    return len(text.split())
