"""The order of a training's rows."""

import random
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from adakd.config import Training
from adakd.data.example import Example


class ByLength(Sampler[int]):
    """A random order whose rows are sorted by length within each optimizer step.

    So the micro-batches of a step have rows of similar length and little padding. With a pool of
    one, the rows of a step are random, and its gradient is the same however it is split.

    Args:
        examples: the sequences.
        step: rows per optimizer step, over all micro-batches and devices.
        seed: decides the order, together with the epoch.
        pool: steps whose rows are sorted by length together; the steps follow in random order.
    """

    def __init__(self, examples: Sequence[Example], step: int, seed: int, pool: int = 1) -> None:
        self.lengths = [len(example.input_ids) for example in examples]
        self.step, self.seed, self.pool, self.epoch = step, seed, pool, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rows = list(range(len(self)))
        chance = random.Random(f"seed {self.seed}, epoch {self.epoch}")
        chance.shuffle(rows)
        for pool in _cut(rows, self.pool * self.step):
            steps = _cut(sorted(pool, key=self.lengths.__getitem__), self.step)
            short = steps.pop() if len(steps[-1]) < self.step else []  # stays last in the epoch
            chance.shuffle(steps)
            for step in (*steps, short):
                yield from step


def row_order(examples: Sequence[Example], training: Training, seed: int) -> ByLength:
    """Return the order of a training's rows."""
    return ByLength(examples, training.sequences * world_size(), seed, training.length_pool)


def world_size() -> int:
    """Return the number of processes that train together."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
