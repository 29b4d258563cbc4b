import random
from collections import Counter
from itertools import pairwise

import pytest

from adakd.judging.base import ItemText
from adakd.judging.vetting import known_pairs
from adakd.store.records import VETTED

CASES = VETTED
VOCABULARY = "apple bird cloud door egg farm goat hill ink jar kite lamp moon nest owl pear".split()


def _words(chance: random.Random, least: int = 1, most: int = 16) -> str:
    return " ".join(chance.choices(VOCABULARY, k=chance.randint(least, most)))


@pytest.fixture
def items():
    """Return three sets of different sizes, some items with several references, some with none."""
    chance = random.Random(7)
    return {
        name: {
            f"{name}-{n}": ItemText(
                f"Question {n}", "", tuple(_words(chance) for _ in range(chance.randint(0, 3)))
            )
            for n in range(size)
        }
        for name, size in {"a": 60, "b": 25, "c": 40}.items()
    }


def _of(pairs, case):
    return [pair for pair in pairs if pair.case == case]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def test_each_case_gives_as_many_as_are_asked_for_spread_over_the_tasks(items) -> None:
    pairs = known_pairs(items, 9, by_reference=False)
    assert Counter(pair.case for pair in pairs) == dict.fromkeys(CASES, 9)
    for case in CASES:
        assert Counter(pair.task for pair in _of(pairs, case)) == {"a": 3, "b": 3, "c": 3}
        chosen = [(pair.task, pair.item) for pair in _of(pairs, case)]
        assert len(set(chosen)) == len(chosen)


def test_the_draw_is_the_same_whatever_the_order_of_the_items(items) -> None:
    turned = {task: dict(reversed(texts.items())) for task, texts in reversed(items.items())}
    assert known_pairs(items, 12, False) == known_pairs(turned, 12, False)


def test_a_larger_count_only_adds(items) -> None:
    all_pairs = known_pairs(items, 1000, False)
    for count in (0, 1, 2, 5, 13, 40):
        fewer = known_pairs(items, count, False)
        assert fewer == all_pairs[: len(fewer)]


def test_no_wrong_answer_is_right(items) -> None:
    for pair in known_pairs(items, 1000, False):
        references = items[pair.task][pair.item].references
        assert pair.right == references[0]
        if pair.case == "same":
            assert pair.wrong == pair.right
        else:
            assert _plain(pair.wrong) not in map(_plain, references)


def test_what_differs_in_case_layout_or_punctuation_alone_is_as_right() -> None:
    texts = ("Paris", " paris ", "PARIS.", "in  Rome", "In Rome!", "in\nrome")
    items = {"set": {str(n): ItemText(f"q{n}", "", (text,)) for n, text in enumerate(texts)}}
    for pair in _of(known_pairs(items, 10, False), "other"):
        assert ("aris" in pair.right.lower()) != ("aris" in pair.wrong.lower())


def test_the_answer_to_the_same_question_is_not_wrong() -> None:
    items = {
        "set": {
            "0": ItemText("Write a haiku.", "", ("old pond",)),
            "1": ItemText("Write a haiku.", "", ("first cold shower of the year",)),
            "2": ItemText("Count to two.", "", ("one two",)),
        }
    }
    wrong = {pair.item: pair.wrong for pair in _of(known_pairs(items, 3, False), "other")}
    assert wrong["0"] == wrong["1"] == "one two"


def test_the_wrong_answer_is_by_turns_longer_and_shorter() -> None:
    chance = random.Random(3)
    items = {"set": {str(n): ItemText(f"q{n}", "", (_words(chance, 5, 40),)) for n in range(60)}}
    gaps = [p.length_difference for p in _of(known_pairs(items, 20, False), "other")]
    assert all(one * other < 0 for one, other in pairwise(gaps))


def test_no_task_has_only_longer_or_only_shorter_wrong_answers() -> None:
    chance = random.Random(4)
    items = {
        task: {str(n): ItemText(f"q{n}", "", (_words(chance, 5, 40),)) for n in range(40)}
        for task in ("a", "b")
    }
    signs = Counter(
        (p.task, p.length_difference > 0) for p in _of(known_pairs(items, 20, False), "other")
    )
    assert set(signs.values()) == {5}


def test_a_truncated_answer_is_the_first_half_with_its_layout() -> None:
    items = {"set": {"0": ItemText("q", "", ("def f(x):\n    y = x\n    return y + 1",))}}
    (pair,) = _of(known_pairs(items, 5, False), "truncated")
    assert pair.wrong == "def f(x):\n    y =\n    return"[: len(pair.wrong)]
    assert pair.right.startswith(pair.wrong)
    assert len(pair.wrong.split()) == len(pair.right.split()) // 2


def test_a_shuffled_answer_has_the_same_words_and_layout_but_most_stand_elsewhere(items) -> None:
    pairs = _of(known_pairs(items, 1000, False), "shuffled")
    assert pairs
    for pair in pairs:
        right, wrong = pair.right.split(), pair.wrong.split()
        assert Counter(right) == Counter(wrong)
        assert 2 * sum(a == b for a, b in zip(right, wrong, strict=True)) < len(right)
    text = {"set": {"0": ItemText("q", "", ("one\ntwo  three\n\nfour five six",))}}
    (pair,) = _of(known_pairs(text, 1, False), "shuffled")
    assert [char for char in pair.wrong if char.isspace()] == list("\n  \n\n  ")


@pytest.mark.parametrize(
    ("reference", "cases"),
    [
        ("7", {"same"}),
        ("one two three four", {"same"}),
        ("one two three four five", {"same", "shuffled"}),
        ("no no no no no no", {"same"}),
        ("one two three four five six seven eight", {"same", "shuffled", "truncated"}),
        ("  ", set()),
    ],
)
def test_a_reference_gives_the_cases_that_its_length_allows(reference, cases) -> None:
    items = {"set": {"0": ItemText("q", "", (reference,))}}
    assert {pair.case for pair in known_pairs(items, 3, False)} == cases


def test_nothing_comes_of_nothing() -> None:
    assert known_pairs({}, 10, False) == []
    assert known_pairs({"set": {"0": ItemText("q", "", ())}}, 10, False) == []


def test_a_task_with_few_items_leaves_its_turns_to_the_others() -> None:
    items = {
        "few": {"0": ItemText("q", "", ("x",))},
        "many": {str(n): ItemText(f"q{n}", "", (f"y{n}",)) for n in range(9)},
    }
    tasks = Counter(pair.task for pair in _of(known_pairs(items, 6, False), "same"))
    assert tasks == {"few": 1, "many": 5}


def test_the_right_answer_is_not_shown_as_a_reference(items) -> None:
    for pair in known_pairs(items, 1000, False):
        assert _plain(pair.right) not in map(_plain, pair.text.references)
        assert _plain(pair.wrong) not in map(_plain, pair.text.references)
    text = ItemText("q", "", ("Yes.", "Sure", " yes "))
    (pair,) = known_pairs({"set": {"0": text}}, 1, False)
    assert pair.text.references == ("Sure",)


def test_a_rule_that_goes_by_the_references_is_shown_them_all(items) -> None:
    for pair in known_pairs(items, 1000, by_reference=True):
        assert pair.text == items[pair.task][pair.item]


def test_a_pair_is_asked_in_both_orders_or_answer_by_answer(items) -> None:
    pair = _of(known_pairs(items, 1, False), "other")[0]
    straight, turned = pair.question(True, "pair"), pair.question(False, "pair")
    assert (straight.first, straight.second) == (pair.right, pair.wrong)
    assert (turned.first, turned.second) == (pair.wrong, pair.right)
    right, wrong = pair.question(True, "rating"), pair.question(False, "rating")
    assert (right.first, right.second) == (pair.right, None)
    assert (wrong.first, wrong.second) == (pair.wrong, None)
    assert pair.length_difference == len(pair.right.split()) - len(pair.wrong.split())


def test_the_rule_passes_its_own_vetting() -> None:
    from adakd.metrics.rouge_l import rouge_l

    chance = random.Random(5)
    items = {"set": {str(n): ItemText(f"q{n}", "", (_words(chance, 8, 20),)) for n in range(30)}}
    for pair in known_pairs(items, 10, by_reference=True):
        right, wrong = (rouge_l(x, pair.text.references) for x in (pair.right, pair.wrong))
        assert right == wrong if pair.case == "same" else right > wrong
