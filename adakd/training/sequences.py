"""Which sequences each cell of a run learns from, by its data policy."""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from adakd.config import Training
from adakd.config.hashing import digest
from adakd.data.example import Example
from adakd.data.tokenized import Encoded
from adakd.errors import AdakdError
from adakd.models import loading
from adakd.models.generation import Writer
from adakd.planning import Cell, Plan, total_steps, training_of
from adakd.policies import Decoding
from adakd.progress import Show
from adakd.training.batches import Feed
from adakd.training.row_order import row_order, world_size
from adakd.training.teacher_responses import TeacherAnswers


class Lessons:
    """The sequences of the data set, and what policies make of them before a training.

    Args:
        plan: what the run asks for.
        encoded: the data set.
        tokenizer: what it is encoded with.
        folder: that of the run.
        load_teacher: returns the teacher, in float32 on the CPU.
    """

    def __init__(
        self,
        plan: Plan,
        encoded: Encoded,
        tokenizer: Any,
        folder: Path,
        load_teacher: Callable[[], Any],
    ) -> None:
        self.plan, self.suite, self.whole = plan, plan.suite, encoded
        self.tokenizer, self.folder, self.load_teacher = tokenizer, folder, load_teacher
        self._answers: dict[Decoding, TeacherAnswers] = {}
        self._rewritten: dict[Decoding, list[Example]] = {}

    def rows(self, cell: Cell) -> int:
        """Return how many sequences a cell has to learn from."""
        return len(self.whole.examples) - self.plan.policy(cell).held_out

    def steps(self, cell: Cell) -> int:
        """Return the optimizer steps of a cell."""
        training = training_of(cell, self.suite)
        return 0 if training is None else total_steps(training, self.rows(cell))

    def encoded(self, cell: Cell) -> Encoded:
        """Return the sequences that the batches of a cell are made of."""
        policy = self.plan.policy(cell)
        rows = self._rewriting(policy.rewriting) if policy.rewriting else self.whole.examples
        return Encoded(self._split(rows, policy.held_out)[0], self.whole.left_out)

    def feed(self, cell: Cell, training: Training) -> Feed:
        """Return a cell's data policy, ready for a training."""
        policy = self.plan.policy(cell)
        return Feed(
            policy=policy,
            encoded=self.encoded(cell),
            held_out=self._split(self.whole.examples, policy.held_out)[1],
            writer=self._writer(loading.DTYPES[training.precision]),
            steps=self.steps(cell),
            seed=cell.seed,
            batch_size=training.batch_size,
        )

    def is_fresh(self, cell: Cell) -> bool:
        """Tell whether a cell may meet sequences that are made during its training."""
        return self.plan.policy(cell).fresh

    def read_by_teacher(self) -> list[Example]:
        """Return the sequences, known beforehand, that any student meets or is timed with."""
        met: dict[int, Example] = {}
        for cell in self._distilled():
            if not self.is_fresh(cell):
                examples = self.encoded(cell).examples
                for number in self._order(examples, cell, self._count(cell)):
                    met[examples[number].number] = examples[number]
        return [met[number] for number in sorted(met)]

    # --- what the teacher writes --------------------------------------------------------------

    @property
    def answers(self) -> list[TeacherAnswers]:
        """What the teacher is to write for all cells, one file for each way of writing."""
        return [self._answers_of(decoding) for decoding in self._rewritings()]

    def fill_answers(self, answers: TeacherAnswers, show: Show = lambda _: None) -> None:
        """Let the teacher write what is missing, in float32, but for a cache in bfloat16."""
        teacher = loading.place(self.load_teacher(), self.teacher_dtype).eval()
        answers.fill(teacher, show)

    @property
    def teacher_dtype(self) -> torch.dtype:
        """What the teacher computes in where its work is kept: float32, or as its cache is."""
        return torch.bfloat16 if self.suite.teacher.cache == "bf16" else torch.float32

    def _rewritings(self) -> list[Decoding]:
        found = (self.plan.policy(cell).rewriting for cell in self._distilled())
        return list(dict.fromkeys(decoding for decoding in found if decoding))

    def _rewriting(self, decoding: Decoding) -> list[Example]:
        """Return the data set with the teacher's responses, in numbers of their own.

        Rows that no training meets keep their response: the teacher does not answer them.
        """
        if decoding not in self._rewritten:
            answers, rows = self._answers_of(decoding), self.whole.examples
            if answers.missing:
                self.fill_answers(answers)
            first = len(rows) * (1 + self._rewritings().index(decoding))
            self._rewritten[decoding] = [
                row.with_response(answers.responses[row.number], first + row.number)
                if row.number in answers.responses
                else row
                for row in rows
            ]
        return self._rewritten[decoding]

    def _answers_of(self, decoding: Decoding) -> TeacherAnswers:
        if decoding not in self._answers:
            writer, weights = self._writer(), loading.weights_digest(self.load_teacher())
            prompts = [row.prompt for row in self.whole.examples]
            key = digest(weights, prompts, decoding, writer.end, writer.max_tokens)
            self._answers[decoding] = TeacherAnswers(
                file=self.folder / "answers" / f"{digest(key, str(self.teacher_dtype))}.jsonl",
                rows=self._asked(decoding),
                batch_size=self.suite.training.batch_size,
                writer=writer,
                decoding=decoding,
            )
        return self._answers[decoding]

    def _asked(self, decoding: Decoding) -> list[Example]:
        """Return the rows that trainings meet: whole pools, since lengths decide inside of one."""
        pool, met = self.suite.training.sequences * self.suite.training.length_pool, set()
        pool *= world_size()
        for cell in self._distilled():
            policy = self.plan.policy(cell)
            if policy.rewriting == decoding:
                rows, _ = self._split(self.whole.examples, policy.held_out)
                count = -(-self._count(cell) // pool) * pool
                met |= {rows[index].number for index in self._order(rows, cell, count)}
        return [row for row in self.whole.examples if row.number in met]

    # --- small parts --------------------------------------------------------------------------

    def _distilled(self) -> Iterator[Cell]:
        return (cell for cell in self.plan.cells if cell.has_teacher)

    def _count(self, cell: Cell) -> int:
        """Return how many sequences a cell takes, or its measurement if that takes more."""
        training, timing = self.suite.training, self.suite.timing
        taken = self.steps(cell) * training.sequences
        if not timing.pairs or cell.seed != self.suite.seeds[0]:
            return taken
        return max(taken, (timing.warmup + timing.pairs) * training.batch_size)

    def _order(self, rows: Sequence[Example], cell: Cell, count: int) -> Iterator[int]:
        return islice(row_order(rows, self.suite.training, cell.seed), count)

    def _writer(self, precision: torch.dtype = torch.float32) -> Writer:
        ids = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        return Writer(*ids, self.suite.data.max_tokens, precision)

    def _split(self, rows: list[Example], held_out: int) -> tuple[list[Example], list[Example]]:
        """Return the rows to train on and those held out, the same for every seed and arm.

        Raises:
            AdakdError: no row is left.
        """
        if held_out >= len(rows):
            raise AdakdError(
                f"a data policy holds out {held_out} of {len(rows)} training rows: lower held_out"
            )
        apart = set(random.Random("held out").sample(range(len(rows)), held_out))
        kept = [row for place, row in enumerate(rows) if place not in apart]
        return kept, [rows[place] for place in sorted(apart)]
