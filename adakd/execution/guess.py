"""How long work takes on a processor that has done none of it: a guess. Imports no torch.

A training step or an answer is matrix products, at the measured speed of one product, and calls of
operations, whose cost Python sets: on small models the calls take most of the time.
"""

from dataclasses import dataclass
from math import ceil
from statistics import fmean

from adakd.config import Training
from adakd.execution.needs import (
    Sizes,
    longest_response,
    operations_of,
    requests_of,
    written_together,
)
from adakd.planning import Assignment
from adakd.planning.architectures import Architecture

TRAINING, READING, DECODING = 0.5, 0.6, 0.3
"""Shares of the speed of a product alone that models reach, as in the published runs."""
TRAINED_CALLS, READ_CALLS = 600, 150
"""Calls of operations for each layer: a micro-batch forward and backward with its share of the
optimizer, and one forward."""
PADDING = 1.2
"""Tokens of a batch, its padding included, over those of its rows."""
LONGER = 2.0
"""Tokens of the longest answer of a batch over those of a mean reference."""


@dataclass(frozen=True)
class Processor:
    """What a processor does, as measured."""

    operations: dict[str, float]
    """A second of matrix products, by precision."""
    call: float
    """Seconds of an operation on few numbers."""


class Guess:
    """The pace of a plan on a processor: None for what is not known before loading.

    Args:
        sizes: of the plan.
        processor: that does all of it.
    """

    def __init__(self, sizes: Sizes, processor: Processor) -> None:
        self._sizes, self._processor = sizes, processor

    def step(self, role: str) -> float | None:
        """Return the seconds of a step of a training, the mean over all cells of a role."""
        trained = [
            (one, one.training)
            for one in self._sizes.planned.assignments
            if one.training is not None and one.cell.role == role
        ]
        found = [self._step(one, training) for one, training in trained]
        known = [seconds for seconds in found if seconds is not None]
        return fmean(known) if known and len(known) == len(found) else None

    def _step(self, one: Assignment, training: Training) -> float | None:
        sizes, rows = self._sizes, self._sizes.rows
        model = sizes.teacher if one.cell.role == "teacher" else sizes.student
        operations = operations_of(sizes, one)
        if rows is None or model is None or operations is None:
            return None
        tokens = PADDING * training.sequences * rows.tokens
        speed = TRAINING * self._processor.operations[training.precision]
        calls = training.gradient_accumulation * model.layers * TRAINED_CALLS
        own = self._written(one, model, rows.prompt)
        products = tokens * operations / speed / training.devices
        return products + calls * self._processor.call + own

    def _written(self, one: Assignment, model: Architecture, prompt: float) -> float:
        """Return the seconds of the responses that a student writes itself, of a step."""
        made, suite = one.new_policy(), self._sizes.suite
        if not made.writes:
            return 0.0
        answers = made.writes * suite.training.sequences
        at_once = written_together(made.writes, suite)
        most = longest_response(self._sizes, made)
        return self._decoding(model, answers, at_once, prompt, most)

    def score(self, task: str) -> float | None:
        """Return the seconds of one model's answers to a task, the mean over all models."""
        sizes = self._sizes
        if sizes.teacher is None or sizes.student is None:
            return None
        found = self._score(task, sizes.teacher), self._score(task, sizes.student)
        if found[0] is None or found[1] is None:
            return None
        share = 1 / len(sizes.planned.cells)  # one of them is the teacher
        return share * found[0] + (1 - share) * found[1]

    def _score(self, task: str, model: Architecture) -> float | None:
        sizes, evaluation = self._sizes, self._sizes.suite.evaluation
        if task not in evaluation.sets:
            requests, tokens = requests_of(sizes, task)
            if requests is None:
                return None
            passes = ceil(requests / evaluation.batch_size)
            return self._reading(model, requests * tokens, passes, READING)
        items = sizes.answered[task]
        if items is None:
            return None
        length = min(evaluation.sampling.max_new_tokens, LONGER * items.response)
        at_once = min(evaluation.batch_size, items.rows)
        return self._decoding(model, items.rows, at_once, items.prompt, length)

    def _decoding(
        self, model: Architecture, answers: float, at_once: float, prompt: float, length: float
    ) -> float:
        """Return the seconds of answers that are decoded in padded batches."""
        passes = max(1.0, answers / at_once) * length
        return self._reading(model, answers * (prompt + length), passes, DECODING)

    def _reading(self, model: Architecture, tokens: float, passes: float, share: float) -> float:
        """Return the seconds of tokens that a model reads in so many passes."""
        processor, precision = self._processor, self._sizes.suite.evaluation.precision
        speed = share * processor.operations[precision]
        calls = passes * model.layers * READ_CALLS
        return 2 * model.parameters * tokens / speed + calls * processor.call
