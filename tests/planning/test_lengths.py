"""Rows and tokens of sources: those that a run would count, within a few per cent."""

from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest

from adakd.planning.lengths import (
    CHARACTERS,
    Tokens,
    local_rows,
    set_lengths,
    tokens_of,
    training_lengths,
)


def test_tokens_are_about_those_of_a_training(
    make_suite: Callable[..., Any], trainings: Callable[..., Any]
) -> None:
    suite = make_suite({})
    context = trainings(suite).context
    examples, tokens = context.encoded.examples, tokens_of(suite, local_rows(suite))
    assert tokens.vocabulary == len(context.tokenizer)
    found = training_lengths(suite, local_rows(suite), tokens.characters)
    assert found is not None
    assert found.rows == len(examples)
    assert found.is_read
    assert found.tokens == pytest.approx(fmean(len(e.input_ids) for e in examples), rel=0.15)
    assert found.response == pytest.approx(fmean(e.valid_tokens for e in examples), rel=0.15)


def test_of_a_set_on_the_hub_only_known_rows_and_limits_are_told(
    make_suite: Callable[..., Any],
) -> None:
    known = {"kind": "hub", "id": "MiniLLM/uinst", "split": "validation"}
    unknown = {"kind": "hub", "id": "owner/rows"}
    sets = {"known": known, "unknown": unknown, "few": {**unknown, "limit": 7}}
    suite = make_suite({"data.train": unknown, "evaluation.sets": sets, "evaluation.choices": []})
    assert local_rows(suite) is None
    assert tokens_of(suite, None) == Tokens()
    assert training_lengths(suite, None, CHARACTERS) is None
    found = {
        name: set_lengths(source, suite, CHARACTERS)
        for name, source in suite.evaluation.sets.items()
    }
    rows = {name: length and length.rows for name, length in found.items()}
    assert rows == {"known": 10_000, "unknown": None, "few": 7}
    assert not any(length.is_read for length in found.values() if length)
