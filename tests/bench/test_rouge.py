"""What a ROUGE-L costs, beside the package rouge-score on the same pairs."""

import importlib
import random
import time
from typing import Any

import pytest
from measuring import FASTER, compare, note, row
from rouge_score.rouge_scorer import RougeScorer

rouge_l = importlib.import_module("adakd.metrics.rouge_l")  # the package exports its function
PAIRS, WORDS, MODELS = 60, 100, 4
"""Answers of a model, words of a text, models that are scored against the same references."""


def texts(chance: random.Random, vocabulary: list[str]) -> list[str]:
    """Return texts whose words are as uneven in frequency as those of a language."""
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    count = range(PAIRS)
    return [" ".join(chance.choices(vocabulary, weights, k=WORDS)) for _ in count]


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    chance = random.Random(0)
    letters = "aeioubcdfghlmnprst"
    stems = ["".join(chance.choices(letters, k=chance.randint(2, 7))) for _ in range(2000)]
    vocabulary = [stem + chance.choice(["", "s", "ing", "ed", "ational", "ly"]) for stem in stems]
    references = texts(chance, vocabulary)
    answers = [texts(chance, vocabulary) for _ in range(MODELS)]
    return [pair for model in answers for pair in zip(model, references, strict=True)]


def package(pairs: list[tuple[str, str]]) -> list[float]:
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    return [scorer.score(reference, answer)["rougeL"].fmeasure for answer, reference in pairs]


def ours(pairs: list[tuple[str, str]]) -> list[float]:
    rouge_l._stems.cache_clear()
    rouge_l.stem_number.cache_clear()
    rouge_l._NUMBERS.clear()
    return [rouge_l.rouge_l(answer, [reference]) for answer, reference in pairs]


@pytest.mark.benchmark(group="ROUGE-L", timer=time.process_time)
def test_rouge(benchmark: Any, pairs: list[tuple[str, str]]) -> None:
    assert ours(pairs) == package(pairs)
    found = compare(benchmark, lambda: ours(pairs), lambda: package(pairs), rounds=3)
    what = f"ROUGE-L of {len(pairs)} pairs of {WORDS} words, {MODELS} answers to a reference"
    line = row(what, "rouge-score, the same floats", FASTER, found.times_faster, at_least=15)
    note(benchmark, line, ours=found.ours, reference=found.reference)
