"""The sequences that each cell trains on, by its data policy."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import torch

from adakd.config import Suite
from adakd.config.hashing import digest
from adakd.data.example import Example
from adakd.errors import AdakdError
from adakd.models import loading
from adakd.models.decoding import DECODERS, Ends
from adakd.models.generation import ResponseGenerator
from adakd.planning import Assignment, ResolvedAssignment
from adakd.policies import Decoding
from adakd.progress import Show
from adakd.training.context import RunContext
from adakd.training.row_order import row_order
from adakd.training.teacher_responses import TeacherResponses

_PORTION = 4
"""Prompts that the teacher answers between two writings of its file, in numbers decoded at a time:
continuous batching needs some that wait."""


@dataclass(frozen=True)
class TrainingSet:
    """The sequences of one training."""

    examples: list[Example]
    """Those that batches are drawn from."""
    held_out: list[Example]
    """Those for the data policy's validation."""


class TrainingData:
    """The tokenized data set of a run, and the teacher's rewritten responses to its prompts."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self._responses: dict[Decoding, TeacherResponses] = {}
        self._rewritten: dict[Decoding, list[Example]] = {}

    def resolve(self, assignment: Assignment) -> ResolvedAssignment:
        """Return an assignment with its numbers of rows and steps."""
        rows = self.context.encoded_of(assignment.cell).examples
        return assignment.resolved(len(rows))

    @cached_property
    def distilled(self) -> tuple[ResolvedAssignment, ...]:
        """The trainings that learn from the teacher, in the order of the plan."""
        assignments = self.context.plan.assignments
        return tuple(self.resolve(one) for one in assignments if one.cell.has_teacher)

    def training_set(self, assignment: ResolvedAssignment) -> TrainingSet:
        """Return the sequences of a training, rewritten by the teacher if its policy says so."""
        rows, decoding = self.context.encoded_of(assignment.cell).examples, assignment.rewriting
        _, held_out = split(rows, assignment.held_out)
        if decoding is not None:
            rows = self._rewrite(decoding)
        return TrainingSet(split(rows, assignment.held_out)[0], held_out)

    def known_sequences(self) -> list[Example]:
        """Return the sequences that any training or timing takes, known before the trainings."""
        found: dict[int, Example] = {}
        for assignment in self.distilled:
            if not assignment.generates:
                found |= {row.number: row for row in self._taken(assignment)}
        return [found[number] for number in sorted(found)]

    def readings(self) -> list[list[Example]]:
        """Return the batches in which the teacher reads the known sequences.

        A batch is read whole even if only one of its sequences is taken, so that the states of a
        sequence, down to their rounding, do not depend on what else a plan holds.
        """
        known = {row.number for row in self.known_sequences()}
        batches = self._read_together(self.context.encoded.examples)
        for decoding in self.rewritings:
            rows = self._rewrite(decoding)
            batches += [[rows[row.number] for row in batch] for batch in self._asked()]
        return [
            self._as_read(batch) for batch in batches if any(row.number in known for row in batch)
        ]

    def _as_read(self, batch: Sequence[Example]) -> list[Example]:
        """Return sequences as the teacher reads them: in its own tokens."""
        sides = self.context.translation
        return [*batch] if sides is None else [sides.teacher_side(row) for row in batch]

    def expected_labels(self) -> int:
        """Return about how many labels the teacher reads, before it has written any response."""
        rows, taken = self.context.encoded.examples, set[int]()
        for assignment in self.distilled:
            if not assignment.generates and assignment.rewriting is None:
                taken |= {row.number for row in self._taken(assignment)}
        batches = self._read_together(rows)
        batches = [batch for batch in batches if any(row.number in taken for row in batch)]
        for decoding in self.rewritings:
            batches += self._answered(decoding)
        return sum(row.valid_tokens for batch in batches for row in self._as_read(batch))

    def _read_together(self, rows: Sequence[Example]) -> list[list[Example]]:
        """Return rows in the batches in which the teacher reads them."""
        size = self.context.suite.training.batch_size
        return _batches(rows, lambda row: len(row.input_ids), size)

    def _asked(self) -> list[list[Example]]:
        """Return the data set in the portions in which the teacher answers its prompts."""
        rows, size = self.context.encoded.examples, self.context.suite.evaluation.batch_size
        return _batches(rows, lambda row: len(row.prompt), _PORTION * size)

    def _taken(self, assignment: ResolvedAssignment) -> Iterator[Example]:
        """Yield the sequences that a training or its timing takes."""
        count = _sequence_count(assignment, self.context.suite)
        yield from first_rows(self.training_set(assignment).examples, assignment, count)

    # --- responses of the teacher -------------------------------------------------------------

    @property
    def rewritings(self) -> list[Decoding]:
        """The ways in which the teacher rewrites responses, over all policies."""
        return list(dict.fromkeys(one.rewriting for one in self.distilled if one.rewriting))

    def responses(self, decoding: Decoding) -> TeacherResponses:
        """Return the stored responses of the teacher, complete or not."""
        if decoding not in self._responses:
            context, batches = self.context, map(self._as_read, self._answered(decoding))
            generator = self._generator(context.teacher_tokenizer, context.teacher_dtype)
            weights = loading.weights_digest(context.load(context.plan.teacher))
            prompts = [row.prompt for row in self._as_read(context.encoded.examples)]
            evaluation = context.suite.evaluation
            limits = generator.ends.end, generator.max_tokens
            decoder = evaluation.own_engine, evaluation.batch_size
            name = digest(weights, prompts, decoding, limits, decoder, str(context.teacher_dtype))
            self._responses[decoding] = TeacherResponses(
                file=context.folder / "answers" / f"{name}.jsonl",
                batches=[*batches],
                generator=generator,
                decoding=decoding,
            )
        return self._responses[decoding]

    def fill(self, responses: TeacherResponses, show: Show = lambda _: None) -> None:
        """Generate the missing responses of the teacher."""
        teacher = self.context.load(self.context.plan.teacher)
        responses.fill(loading.place(teacher, self.context.teacher_dtype).eval(), show)

    def generator(self, precision: torch.dtype) -> ResponseGenerator:
        """Return a generator of a student's responses, within the length limit of the data set."""
        return self._generator(self.context.tokenizer, precision)

    def _generator(self, tokenizer: Any, precision: torch.dtype) -> ResponseGenerator:
        suite = self.context.suite
        ends = Ends(tokenizer.eos_token_id, tokenizer.pad_token_id)
        decoder, size = DECODERS[suite.evaluation.own_engine], suite.evaluation.batch_size
        return ResponseGenerator(ends, suite.data.max_tokens, decoder, size, precision)

    def _rewrite(self, decoding: Decoding) -> list[Example]:
        """Return the data set with the teacher's responses, under numbers of their own.

        Rows of batches that no training takes from keep their response: the teacher does not
        answer them.
        """
        if decoding not in self._rewritten:
            responses, rows = self.responses(decoding), self.context.encoded.examples
            if responses.missing:
                self.fill(responses)
            first = len(rows) * (1 + self.rewritings.index(decoding))
            self._rewritten[decoding] = [
                self._with_response(row, responses.responses[row.number], first + row.number)
                if row.number in responses.responses
                else row
                for row in rows
            ]
        return self._rewritten[decoding]

    def _with_response(self, row: Example, response: list[int], number: int) -> Example:
        """Return a row with a response of the teacher, given in the teacher's tokens."""
        sides = self.context.translation
        if sides is None:
            return row.with_response(response, number)
        return sides.rewritten(row, response, number)

    def _answered(self, decoding: Decoding) -> list[list[Example]]:
        """Return the batches with rows of pools that trainings take: lengths decide their order."""
        suite, rows, taken = self.context.suite, self.context.encoded.examples, set[int]()
        pool = suite.training.sequences * suite.training.length_pool
        for assignment in self.distilled:
            if assignment.rewriting == decoding:
                train, _ = split(rows, assignment.held_out)
                count = -(-_sequence_count(assignment, suite) // pool) * pool
                taken |= {row.number for row in first_rows(train, assignment, count)}
        return [batch for batch in self._asked() if any(row.number in taken for row in batch)]


def _batches(
    rows: Sequence[Example], length: Callable[[Example], int], size: int
) -> list[list[Example]]:
    """Return rows in batches of about one length, which the rows alone decide."""
    rows = sorted(rows, key=length)
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]


def split(rows: list[Example], held_out: int) -> tuple[list[Example], list[Example]]:
    """Return the rows to train on and those held out, the same for every seed and arm.

    Raises:
        AdakdError: no row is left.
    """
    if held_out >= len(rows):
        raise AdakdError(
            f"a data policy holds out {held_out} of {len(rows)} training rows: lower held_out"
        )
    apart = set(random.Random("held out").sample(range(len(rows)), held_out))
    train = [row for place, row in enumerate(rows) if place not in apart]
    return train, [rows[place] for place in sorted(apart)]


def _sequence_count(assignment: ResolvedAssignment, suite: Suite) -> int:
    """Return the sequences that a training takes, or its timing if that takes more."""
    timing = suite.timing
    if not timing.pairs or assignment.cell.seed != suite.seeds[0]:
        return assignment.sequences
    timed = (timing.warmup + timing.pairs) * suite.training.batch_size
    return max(assignment.sequences, timed)


def first_rows(
    rows: Sequence[Example], assignment: ResolvedAssignment, count: int
) -> Iterator[Example]:
    """Yield the first `count` rows of a training, in its order."""
    order = row_order(rows, assignment, assignment.cell.seed)
    return (rows[index] for index in islice(order, count))
