"""The word puzzles of the smoke suite."""

import pytest

from adakd.data.puzzles import FAMILIES, WORDS, generate

ANSWERS = {
    "Copy the words.": "pig cat owl",
    "Reverse the words.": "owl cat pig",
    "Sort the words from a to z.": "cat owl pig",
    "Write the first and the last word.": "pig owl",
    "Write each word twice.": "pig pig cat cat owl owl",
    "Leave out the first word.": "cat owl",
    "Count the words, then write the last one.": "three owl",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_is_right(family: str) -> None:
    assert " ".join(FAMILIES[family](["pig", "cat", "owl"])) == ANSWERS[family]


@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_are_distinct_and_answered(split) -> None:
    rows = generate(300, split)
    assert len({row[0] for row in rows}) == len({row[1:3] for row in rows}) == 300
    assert {row[1] for row in rows} == set(FAMILIES)
    for _, family, words, references in rows:
        assert set(words.split()) <= set(WORDS)
        assert references == (" ".join(FAMILIES[family](words.split())),)


@pytest.mark.parametrize("split", ["train", "test"])
def test_more_rows_begin_with_the_same(split) -> None:
    assert generate(50, split) == generate(120, split)[:50]


def test_the_splits_share_no_item() -> None:
    train, test = ({row[1:3] for row in generate(3000, split)} for split in ("train", "test"))
    assert len(train) == len(test) == 3000
    assert not train & test
