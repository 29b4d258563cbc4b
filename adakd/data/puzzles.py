"""Generated word puzzles: a small instruction set for suites that download nothing.

There are eight families of tasks over a small vocabulary. An answer is an easy part, a phrase that
belongs to the family, and a hard one, the words. Every puzzle has at least two right answers, since
there are two phrases; two families also leave open which words to write. A hash of its text assigns
each puzzle to a split, so the splits share no item, whatever their sizes.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

ANIMALS = """
    bird cat cow dog duck fish fox frog goat horse lion mouse owl pig
""".split()
THINGS = """
    apple boat book cake car chair cloud coat cup door egg farm flag gate hat hill house key lake
    lamp leaf milk moon nest pear pen rain ring road rock rose ship shoe snow star sun tree
""".split()
WORDS = sorted(ANIMALS + THINGS)
NUMBERS = {3: "three", 4: "four", 5: "five", 6: "six"}
"""By the number of words that a puzzle may have."""

Split = Literal["train", "test"]
Puzzle = tuple[str, str, str, tuple[str, ...]]
"""Id, instruction, input, references."""
_Question = tuple[str, tuple[str, ...]]
"""Family and words."""


@dataclass(frozen=True)
class Family:
    """One kind of task."""

    instruction: str
    phrases: tuple[str, str]
    """Two beginnings of a right answer."""
    answers: Callable[[Sequence[str]], list[Sequence[str]]]
    """The right answers to some words, without phrases; none where the task makes no sense."""

    def references(self, words: Sequence[str]) -> list[str]:
        """Return all right answers, each once."""
        found = [" ".join(answer) for answer in self.answers(words)]
        return list(dict.fromkeys(f"{phrase} {text}" for phrase in self.phrases for text in found))


def _animals(words: Sequence[str]) -> list[Sequence[str]]:
    return [[word] for word in words if word in ANIMALS]


FAMILIES: dict[str, Family] = {
    "copy": Family("Copy the words.", ("the words are", "here they are:"), lambda words: [words]),
    "reverse": Family(
        "Reverse the words.",
        ("in reverse they are", "from the end:"),
        lambda words: [words[::-1]],
    ),
    "sort": Family(
        "Sort the words from a to z.",
        ("sorted they are", "from a to z:"),
        lambda words: [sorted(words)],
    ),
    "ends": Family(
        "Write the first and the last word.",
        ("first and last are", "the ends are"),
        lambda words: [[words[0], words[-1]]],
    ),
    "rest": Family(
        "Leave out the first word.",
        ("the rest is", "without it:"),
        lambda words: [words[1:]],
    ),
    "count": Family(
        "Count the words, then write the last one.",
        ("the number is", "there are"),
        lambda words: [[NUMBERS[len(words)], words[-1]]],
    ),
    "animal": Family(
        "Name an animal among the words.", ("an animal is", "one of them is"), _animals
    ),
    "beside": Family(
        "Write two words that stand side by side.",
        ("side by side are", "two of them are"),
        lambda words: [words[i : i + 2] for i in range(len(words) - 1)],
    ),
}
TEST_SHARE = 0.2


def generate(rows: int, split: Split, noise: float = 0.0) -> list[Puzzle]:
    """Return `rows` distinct puzzles of a split: id, instruction, input, references.

    The first n rows are the same for every `rows` >= n. The first reference, from which students
    learn, is one of the right answers, drawn by a hash of the puzzle.

    Args:
        rows: number of puzzles.
        split: ``train`` or ``test``; they share no puzzle.
        noise: share of damaged rows. Half of these have the answer to another puzzle, the others
            wrong words in the right phrase; neither is a right answer, and it is the only
            reference. Whether and how a row is damaged depends on the row alone, and what is
            damaged at one share is so at every larger one.
    """
    chance = random.Random(split)
    found: dict[_Question, Puzzle] = {}
    while len(found) < rows:
        question = _question(chance)
        if _in_test(question) == (split == "test"):
            found.setdefault(question, _puzzle(question, split, noise))
    return list(found.values())


def _question(chance: random.Random) -> _Question:
    """Draw a family, and words to which it has an answer."""
    family = chance.choice(list(FAMILIES))
    while True:
        words = tuple(chance.sample(WORDS, chance.choice(list(NUMBERS))))
        if FAMILIES[family].answers(words):
            return family, words


def _puzzle(question: _Question, split: Split, noise: float) -> Puzzle:
    name, words = question
    family, draws = FAMILIES[name], random.Random(_text(question))
    references = family.references(words)
    draws.shuffle(references)
    if draws.random() < noise:
        references = [_damaged(question, references, draws)]
    number = hashlib.sha256(_text(question).encode()).hexdigest()[:8]
    return f"{split}-{name}-{number}", family.instruction, " ".join(words), tuple(references)


def _damaged(question: _Question, references: Sequence[str], draws: random.Random) -> str:
    """Return a wrong answer: that to another puzzle, or one with other words."""
    of_another = draws.random() < 0.5
    while True:
        if of_another:
            name, words = _question(draws)
            answer = draws.choice(FAMILIES[name].references(words))
        else:
            answer = " ".join(_maybe_other(word, draws) for word in references[0].split())
        if answer not in references:
            return answer


def _maybe_other(word: str, draws: random.Random) -> str:
    """Return another word in place of every second one; words of a phrase stay."""
    others = next((of for of in (WORDS, list(NUMBERS.values())) if word in of), None)
    return draws.choice(others) if others and draws.random() < 0.5 else word


def _text(question: _Question) -> str:
    name, words = question
    return " ".join((name, *words))


def _in_test(question: _Question) -> bool:
    first = hashlib.sha256(_text(question).encode()).digest()[0]
    return first < 256 * TEST_SHARE
