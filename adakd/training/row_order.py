"""The order of a training's rows."""

import random
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from adakd.data.example import Example
from adakd.planning import Assignment


class RowOrder(Sampler[int]):
    """A random order, in which rows of similar length may be brought together.

    Rows sorted by length within an optimizer step have little padding in its micro-batches. The
    gradient of a mean over all tokens does not depend on that; a token-adaptive method's does,
    since it selects among the tokens of a micro-batch, and so does a data policy's.

    Args:
        examples: the sequences.
        step: rows per optimizer step, over all micro-batches and devices.
        seed: decides the order, together with the epoch.
        pool: steps whose rows are regrouped by length together; the steps follow in random order.
        by_length: whether the rows of a step are sorted by length; otherwise chance decides which
            of them form a micro-batch.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        step: int,
        seed: int,
        pool: int = 1,
        *,
        by_length: bool = True,
    ) -> None:
        self.lengths = [len(example.input_ids) for example in examples]
        self.step, self.seed, self.pool, self.epoch = step, seed, pool, 0
        self.by_length = by_length

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rows = list(range(len(self)))
        chance = random.Random(f"seed {self.seed}, epoch {self.epoch}")
        within = random.Random(f"seed {self.seed}, epoch {self.epoch}, within steps")
        chance.shuffle(rows)
        for pool in _cut(rows, self.pool * self.step):
            grouped = self.by_length or self.pool > 1
            chosen = sorted(pool, key=self.lengths.__getitem__) if grouped else pool
            steps = _cut(chosen, self.step)
            short = steps.pop() if len(steps[-1]) < self.step else []  # stays last in the epoch
            chance.shuffle(steps)
            for step in (*steps, short):
                if grouped and not self.by_length:
                    within.shuffle(step)
                yield from step


def row_order(examples: Sequence[Example], assignment: Assignment, seed: int) -> RowOrder:
    """Return the order of a training's rows.

    A distilled student's micro-batches hold the rows that chance put into them, in the plain arm as
    in the adaptive ones, so that pairs stay fair and a cell does not depend on a suite's arms.
    """
    training = assignment.training
    assert training is not None
    by_length = assignment.baseline is None
    return RowOrder(examples, training.sequences, seed, training.length_pool, by_length=by_length)


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
