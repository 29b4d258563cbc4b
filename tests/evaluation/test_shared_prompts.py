"""Options of a question share their prompt: equal scores, fewer tokens, and a way without."""

import logging
import random
from typing import Any

import pytest
import torch

from adakd.evaluation import harness as module
from adakd.evaluation.shared_prompts import batches_alone, batches_of_prompts, groups, probe

SIZES = [(20, [3, 5, 1, 8]), (7, [2, 2]), (31, [4, 4, 4, 4, 4]), (9, [6]), (90, [3, 30])]


def requests(vocabulary: int) -> list[Any]:
    """Requests of questions with several options, in no order."""
    chance = random.Random(0)

    def ids(count: int) -> list[int]:
        return [chance.randrange(vocabulary) for _ in range(count)]

    found = []
    for size, options in SIZES:
        context = ids(size)
        found += [(("x", "y"), context, ids(one)) for one in options]
    chance.shuffle(found)
    return found


def apart(harness: Any, asked: list[Any]) -> list[tuple[float, bool]]:
    """The values of each request read by itself."""
    return [harness._likelihoods([(tuple(c), tuple(o))])[0] for _, c, o in asked]


@pytest.mark.parametrize("size", [1, 3, 16])
def test_the_values_are_those_of_whole_sequences(bench, size: int, caplog) -> None:
    harness = bench({"evaluation.batch_size": size}).harness
    asked = requests(harness.vocab_size)
    shared, expected = harness._loglikelihood_tokens(asked), apart(harness, asked)
    assert harness._shares is True
    assert [same for _, same in shared] == [same for _, same in expected]
    assert [v for v, _ in shared] == pytest.approx([v for v, _ in expected], rel=1e-5)
    assert not caplog.records


def test_long_prompts_take_less_than_half_the_tokens(bench) -> None:
    harness, read = bench().harness, list[int]()
    context, options = list(range(2, 82)), [[5, 6, 7], [8, 9], [3, 4, 5], [6]]
    asked = [(("x", "y"), [n, *context], option) for n in range(2, 12) for option in options]
    embeddings = harness.model.get_input_embeddings()
    embeddings.register_forward_hook(lambda _, ids, __: read.append(ids[0].numel()))
    harness._loglikelihood_tokens(asked)
    assert sum(read) < sum(len(c) + len(o) for _, c, o in asked) / 2


def test_one_long_option_pads_no_other(bench) -> None:
    harness, read = bench().harness, list[int]()
    options = [[5, 6, 7, 4], [8, 9], [3, 4, 5], [6, 2]]
    asked = [(("x", "y"), [n, *range(2, 21)], option) for n in range(2, 12) for option in options]
    asked.append((("x", "y"), [2, *range(2, 21)], [*range(2, 62)]))
    embeddings = harness.model.get_input_embeddings()
    harness._shares = True  # tried before
    embeddings.register_forward_hook(lambda _, ids, __: read.append(ids[0].numel()))
    harness._loglikelihood_tokens(asked)
    prompts, long, short = 10 * 20, 59, 40 * 3  # the last token of an option is not read
    assert sum(read) == prompts + long + short


class Refuses:
    """A way to share prompts that a model does not bear."""

    @staticmethod
    def wrong(_: Any, prompts: Any) -> torch.Tensor:
        count = sum(len(row) for _, rows in prompts for row in rows)
        return torch.randn(count, 4000, generator=torch.Generator().manual_seed(0))

    @staticmethod
    def unable(*_: Any) -> torch.Tensor:
        raise TypeError("no cache here")


@pytest.mark.parametrize(("how", "why"), [("wrong", "other values"), ("unable", "no cache here")])
def test_a_model_that_does_not_bear_it_reads_whole_sequences(
    bench, monkeypatch: pytest.MonkeyPatch, caplog, how: str, why: str
) -> None:
    harness = bench({"evaluation.batch_size": 4}).harness
    asked = requests(harness.vocab_size)
    monkeypatch.setattr(module, "shared_logits", getattr(Refuses, how))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = harness._loglikelihood_tokens(asked)
    expected = apart(harness, asked)
    assert [v for v, _ in found] == pytest.approx([v for v, _ in expected], rel=1e-5)
    (line,) = caplog.messages  # once for a model
    assert why in line


def test_every_pair_is_in_one_batch_and_none_is_too_large() -> None:
    pairs = [((n,) * size, (1,) * one) for n, (size, rows) in enumerate(SIZES) for one in rows]
    shared, alone = groups(pairs, limit=96)
    assert [pairs[i] for i in alone] == [((4,) * 90, (1,) * 30), ((3,) * 9, (1,) * 6),
                                         ((4,) * 90, (1,) * 3)]  # fmt: skip
    for size in (1, 2, 3, 5, 100):
        batches = [*batches_of_prompts(shared, pairs, size), *batches_alone(alone, pairs, size)]
        assert sorted(i for one in batches for i in one) == list(range(len(pairs)))
        assert all(0 < len(one) <= size for one in batches)
    lengths = [{len(pairs[i][0]) for i in one} for one in batches_of_prompts(shared, pairs, 100)]
    assert lengths == [{31}, {20}, {7}]
    assert {len(pairs[i][0]) for i in probe(shared)} == {31, 7}
