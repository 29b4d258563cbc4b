"""Calibration: pairs of all damages and lengths, and what is measured on them."""

import random
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from adakd.judging.base import ItemText
from adakd.judging.calibration import (
    LENGTHS,
    calibrated,
    calibration_folder,
    calibration_pairs,
    calibrations,
    length_thirds,
)
from adakd.store import Store
from adakd.store.records import CalibrationRecord, Case, JudgeRecord, VettingRecord

CASES = get_args(Case)


@pytest.fixture(scope="module")
def texts() -> dict[str, ItemText]:
    chance = random.Random(5)
    vocabulary = [f"w{n}" for n in range(500)]

    def reference() -> str:
        return " ".join(chance.choices(vocabulary, k=chance.randint(9, 90)))

    return {f"i{n}": ItemText(f"Question {n}", "", (reference(),)) for n in range(60)}


@pytest.fixture(scope="module")
def pairs(texts):
    return calibration_pairs("set", texts, 200, by_reference=False)


def test_pairs_are_of_every_damage_at_every_length(texts, pairs) -> None:
    assert len(pairs) == 200
    thirds = length_thirds(texts)
    assert Counter(thirds.values()) == dict.fromkeys(LENGTHS, 20)
    counts = Counter((pair.case, thirds[pair.item]) for pair in pairs)
    assert set(counts) == {(case, third) for case in CASES for third in LENGTHS}
    singles = [count for (case, _), count in counts.items() if case != "other"]
    assert max(singles) - min(singles) <= 1
    assert len({(pair.item, pair.case) for pair in pairs}) == 200


def test_no_wrong_answer_is_right_and_the_right_one_is_hidden(texts, pairs) -> None:
    for pair in pairs:
        assert (pair.wrong == pair.right) == (pair.case == "same")
        assert pair.text.references == ()
    shown = calibration_pairs("set", texts, 20, by_reference=True)
    assert all(pair.text.references == (pair.right,) for pair in shown)


def test_each_damage_is_what_its_name_says(pairs) -> None:
    for pair in pairs:
        right, wrong = pair.right.split(), pair.wrong.split()
        if pair.case == "dropped":
            assert wrong == [word for n, word in enumerate(right) if n % 3 != 2]
        if pair.case == "repeated":
            assert wrong == right + right[-5:] * 6
        if pair.case == "padded":
            assert wrong[: len(right)] == right
            assert len(wrong) > len(right)
        if pair.case == "spliced":
            half = len(right) // 2
            assert wrong[:half] == right[:half]
            assert wrong[half:] != right[half:]
    signs = Counter(p.length_difference > 0 for p in pairs if p.case == "other")
    assert min(signs.values()) > 15


def test_the_draw_is_seeded_and_fewer_pairs_are_the_first(texts, pairs) -> None:
    turned = dict(reversed(texts.items()))
    assert calibration_pairs("set", turned, 200, False) == pairs
    assert calibration_pairs("set", texts, 30, False) == pairs[:30]


def test_items_without_a_reference_give_no_pair(texts) -> None:
    some = {"a": ItemText("q", "", ()), "b": ItemText("q", "", ("  ",))}
    assert calibration_pairs("set", some, 10, False) == []
    made = calibration_pairs("set", {**some, **texts}, 50, False)
    assert not {"a", "b"} & {pair.item for pair in made}


# --- what is measured -------------------------------------------------------------------------

JUDGE = JudgeRecord(key="j@1", name="j", description="", backend="x", mode="text", model="M")


def measured(texts, pairs, says, judge=JUDGE) -> CalibrationRecord:
    """Measure a judge that says ``first``, ``second``, ``tie`` or ``failed``."""
    records = []
    for pair in pairs:
        for right_first in (True, False):
            said = says(*(pair.right, pair.wrong) if right_first else (pair.wrong, pair.right))
            sides = ("right", "wrong") if right_first else ("wrong", "right")
            records.append(
                VettingRecord(
                    key=f"{pair.item}-{pair.case}-{right_first}",
                    judge=judge.key,
                    task=pair.task,
                    item=pair.item,
                    case=pair.case,
                    right_first=right_first,
                    length_difference=pair.length_difference,
                    verdict={"first": sides[0], "second": sides[1]}.get(said, said),
                )
            )
    return calibrated(judge, records, pairs, length_thirds(texts), "x/set.jsonl", "d")


def test_a_judge_that_is_never_wrong(texts, pairs) -> None:
    known = {(pair.right, pair.wrong) for pair in pairs}
    found = measured(
        texts,
        pairs,
        lambda a, b: "tie" if a == b else "first" if (a, b) in known else "second",
    )
    others = [pair for pair in pairs if pair.case != "same"]
    assert found.pairs == 200
    assert (found.accuracy.value, found.accuracy.n) == (1, len(others))
    assert found.accuracy.low > 0.97
    assert (found.flips.value, found.self_ties.value, found.failed.value) == (0, 1, 0)
    assert found.position.value == found.length.value == 0
    assert found.position.low < 0 < found.position.high
    assert found.length.low < 0 < found.length.high
    assert set(found.by_case) == set(CASES) - {"same"}
    assert set(found.by_length) == set(LENGTHS)


@pytest.mark.parametrize(("slot", "pull"), [("first", 1), ("second", -1)])
def test_a_judge_that_prefers_a_place(texts, pairs, slot, pull) -> None:
    found = measured(texts, pairs, lambda a, b: slot)
    assert (found.accuracy.value, found.flips.value, found.position.value) == (0, 1, pull)
    assert found.position.low <= pull <= found.position.high


def test_a_judge_that_prefers_length(texts, pairs) -> None:
    def longer(a: str, b: str) -> str:
        one, other = len(a.split()), len(b.split())
        return "tie" if one == other else "first" if one > other else "second"

    found = measured(texts, pairs, longer)
    assert found.length.value == 1
    assert found.length.low > 0.5
    assert found.by_case["truncated"].value == 1
    assert found.by_case["padded"].value == found.by_case["repeated"].value == 0
    assert (found.flips.value, found.position.value) == (0, 0)


def test_failures_are_counted_apart(texts, pairs) -> None:
    found = measured(texts, pairs, lambda a, b: "failed")
    assert found.failed.value == 1
    assert found.accuracy is found.flips is found.position is found.length is None


def test_a_judge_that_rates_has_no_flips(texts, pairs) -> None:
    rating = JUDGE.model_copy(update={"asks": "rating"})
    found = measured(texts, pairs, lambda a, b: "tie", rating)
    assert found.flips is found.position is None
    assert found.accuracy.value == 0


def test_a_calibration_is_found_beside_the_runs(texts, pairs, tmp_path: Path) -> None:
    found = measured(texts, pairs, lambda a, b: "first")
    assert calibrations(tmp_path, "j@1") == []
    Store(calibration_folder(tmp_path, "j@1")).add(found)
    assert calibrations(tmp_path, "j@1") == [found]
    assert calibrations(tmp_path, "j@2") == []
