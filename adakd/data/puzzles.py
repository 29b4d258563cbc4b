"""Generated word puzzles: the instruction set of the ``smoke`` suite.

There are seven families of tasks over a small vocabulary. A hash of its text assigns each puzzle to
a split, so the splits share no item, whatever their sizes.
"""

import hashlib
import random
from collections.abc import Callable
from typing import Literal

WORDS = """
    apple bird boat book cake car cat chair cloud coat cow cup dog door duck egg farm fish
    flag fox frog gate goat hat hill horse house key lake lamp leaf lion milk moon mouse nest
    owl pear pen pig rain ring road rock rose ship shoe snow star sun tree
""".split()
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven")

FAMILIES: dict[str, Callable[[list[str]], list[str]]] = {
    "Copy the words.": lambda words: words,
    "Reverse the words.": lambda words: words[::-1],
    "Sort the words from a to z.": sorted,
    "Write the first and the last word.": lambda words: [words[0], words[-1]],
    "Write each word twice.": lambda words: [word for word in words for _ in range(2)],
    "Leave out the first word.": lambda words: words[1:],
    "Count the words, then write the last one.": lambda words: [NUMBERS[len(words)], words[-1]],
}
TEST_SHARE = 0.2


def generate(
    rows: int, split: Literal["train", "test"]
) -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Return `rows` distinct puzzles of a split: id, instruction, input, references.

    The first n rows are the same for every `rows` >= n.
    """
    chance = random.Random(split)
    puzzles: dict[tuple[str, str], tuple[str, ...]] = {}
    while len(puzzles) < rows:
        family = chance.choice(list(FAMILIES))
        words = chance.sample(WORDS, chance.randint(3, 6))
        question = (family, " ".join(words))
        if _in_test(question) == (split == "test"):
            puzzles[question] = (" ".join(FAMILIES[family](words)),)
    return [
        (f"{split}-{number:05d}", *question, references)
        for number, (question, references) in enumerate(puzzles.items())
    ]


def _in_test(question: tuple[str, str]) -> bool:
    first = hashlib.sha256(" ".join(question).encode()).digest()[0]
    return first < 256 * TEST_SHARE
