"""The word puzzles of the suites that download nothing."""

import pytest

from adakd.data.puzzles import ANIMALS, FAMILIES, NUMBERS, WORDS, generate

ANSWERS = {
    "copy": {"pig cup owl"},
    "reverse": {"owl cup pig"},
    "sort": {"cup owl pig"},
    "ends": {"pig owl"},
    "rest": {"cup owl"},
    "count": {"three owl"},
    "animal": {"pig", "owl"},
    "beside": {"pig cup", "cup owl"},
}
OF = {family.instruction: family for family in FAMILIES.values()}


def content(answer: str, instruction: str) -> str:
    """The hard part of an answer: what follows its phrase."""
    (phrase,) = (one for one in OF[instruction].phrases if answer.startswith(one))
    return answer.removeprefix(phrase).strip()


@pytest.mark.parametrize("name", FAMILIES)
def test_all_right_answers_are_references(name: str) -> None:
    family = FAMILIES[name]
    references = family.references(["pig", "cup", "owl"])
    expected = {f"{phrase} {text}" for phrase in family.phrases for text in ANSWERS[name]}
    assert set(references) == expected
    assert len(references) == len(expected) >= 2


def test_words_are_animals_or_things() -> None:
    assert set(ANIMALS) < set(WORDS)
    assert len(set(WORDS)) == len(WORDS)
    in_phrases = {w for f in FAMILIES.values() for phrase in f.phrases for w in phrase.split()}
    assert not in_phrases & {*WORDS, *NUMBERS.values()}  # damage to words leaves the phrase alone


@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_are_distinct_and_answered(split) -> None:
    rows = generate(300, split)
    assert len({row[0] for row in rows}) == len({row[1:3] for row in rows}) == 300
    assert {row[1] for row in rows} == set(OF)
    for _, instruction, words, references in rows:
        assert set(words.split()) <= set(WORDS)
        assert sorted(references) == sorted(OF[instruction].references(words.split()))


def test_the_answer_to_learn_is_drawn_among_the_right_ones() -> None:
    rows = [row for row in generate(2000, "train") if row[1] == FAMILIES["copy"].instruction]
    first = FAMILIES["copy"].phrases[0]
    share = sum(row[3][0].startswith(first) for row in rows) / len(rows)
    assert len(rows) > 200
    assert 0.4 < share < 0.6
    several = [row for row in generate(2000, "train") if row[1] == FAMILIES["beside"].instruction]
    places = {row[2].split().index(content(row[3][0], row[1]).split()[0]) for row in several}
    assert places == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_more_rows_begin_with_the_same(noise: float) -> None:
    assert generate(50, "train", noise) == generate(120, "train", noise)[:50]
    assert generate(50, "test") == generate(120, "test")[:50]


def test_the_splits_share_no_item() -> None:
    train, test = ({row[1:3] for row in generate(3000, split)} for split in ("train", "test"))
    assert len(train) == len(test) == 3000
    assert not train & test


@pytest.mark.parametrize("noise", [0.1, 0.4, 1.0])
def test_a_known_share_of_answers_is_damaged(noise: float) -> None:
    clean, noisy = generate(4000, "train"), generate(4000, "train", noise)
    assert [row[:3] for row in noisy] == [row[:3] for row in clean]
    damaged = [(a, b) for a, b in zip(clean, noisy, strict=True) if a[3] != b[3]]
    assert len(damaged) / 4000 == pytest.approx(noise, abs=0.03)
    for right, wrong in damaged:
        assert len(wrong[3]) == 1
        assert wrong[3][0] not in right[3]


def test_half_of_the_damage_is_the_answer_to_another_puzzle() -> None:
    rows = generate(2000, "train", 1.0)
    kept = sum(any(row[3][0].startswith(phrase) for phrase in OF[row[1]].phrases) for row in rows)
    # one of eight answers to another puzzle has the phrases of the same family
    assert kept / 2000 == pytest.approx(0.5 + 0.5 / 8, abs=0.04)


def test_more_noise_damages_more_rows_and_those_of_less_alike() -> None:
    clean, some, many = (generate(500, "train", noise) for noise in (0.0, 0.2, 0.6))
    for a, b, c in zip(clean, some, many, strict=True):
        if a != b:
            assert b == c
