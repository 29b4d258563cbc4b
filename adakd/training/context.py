"""The parts that all trainings of a run share: tokenizer, data set and the models of its cells."""

import copy
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from adakd.bridges import bridge
from adakd.config import Pretrained, Pruned, Scratch
from adakd.data import prompt_of
from adakd.data.overlap import TrainingRows, training_rows
from adakd.data.tokenized import Encoded, encode, encode_all
from adakd.errors import AdakdError
from adakd.models import loading
from adakd.planning import Assignment, Cell, Plan
from adakd.store.unit_files import model_folder
from adakd.training.crossing import Crossing, Translation
from adakd.training.integrity import check_files


class RunContext:
    """Tokenizer, tokenized data set and models of a run; the first two are made once.

    Args:
        plan: what the run does.
        folder: its folder; trained models are in ``cells/<key>/model``.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.suite, self.folder = plan, plan.suite, folder
        self.saved: dict[str, Mapping[str, str]] = {}
        """The hashes of the files of finished models, by the keys of their cells."""
        self._compared: set[str] = set()

    @cached_property
    def rows(self) -> TrainingRows:
        """The rows to train on, and how many of the data equal an evaluation item."""
        return training_rows(self.suite)

    @cached_property
    def tokenizer(self) -> Any:
        """The students' tokenizer: the teacher's, unless a bridge is between two."""
        base = self.suite.student
        if not self.suite.crosses or isinstance(base, Pruned):
            return self.teacher_tokenizer
        own = self._tokenizer(base)
        same = own.get_vocab() == self.teacher_tokenizer.get_vocab()
        return self.teacher_tokenizer if same else own

    @cached_property
    def teacher_tokenizer(self) -> Any:
        """The teacher's tokenizer."""
        return self._tokenizer(self.suite.teacher.base)

    def tokenizer_of(self, cell: Cell) -> Any:
        """Return the tokenizer of a cell's model."""
        return self.teacher_tokenizer if cell.role == "teacher" else self.tokenizer

    def _tokenizer(self, base: Pretrained | Scratch) -> Any:
        if isinstance(base, Pretrained):
            return loading.load_tokenizer(base)
        rows = self.rows.rows
        texts = [prompt_of(row.instruction, row.input, "plain") + row.references[0] for row in rows]
        return loading.train_tokenizer(texts, base.vocabulary)

    @cached_property
    def encoded(self) -> Encoded:
        """The training rows in the students' tokens."""
        return encode(self.rows.rows, self.tokenizer, self.suite.data)

    def encoded_of(self, cell: Cell) -> Encoded:
        """Return the training rows in the tokens of a cell's model."""
        return self._teacher_encoded if cell.role == "teacher" else self.encoded

    @cached_property
    def _teacher_encoded(self) -> Encoded:
        if self.tokenizer is self.teacher_tokenizer:
            return self.encoded
        return encode(self.rows.rows, self.teacher_tokenizer, self.suite.data)

    @cached_property
    def translation(self) -> Translation | None:
        """The way from the students' tokens to the teacher's; None where they share a tokenizer."""
        if self.tokenizer is self.teacher_tokenizer:
            return None
        data, rows = self.suite.data, self.rows.rows
        kept = [rows[place] for place in self.encoded.places]
        theirs = encode_all(kept, self.teacher_tokenizer, data)
        return Translation(
            student=self.tokenizer,
            teacher=self.teacher_tokenizer,
            own=self.encoded.examples,
            rows=theirs,
            limit=data.max_tokens,
        )

    @cached_property
    def crossings(self) -> Mapping[str, Crossing]:
        """The crossings of the suite's bridges by their text; none with one tokenizer."""
        suite, sides = self.suite, self.translation
        if sides is None:
            return {}
        entries = _entries(suite.student), _entries(suite.teacher.base)
        named = filter(None, map(suite.bridge_of, suite.divergences))
        specs = {str(spec): spec for spec in named}
        return {text: Crossing(bridge.build(of), sides, entries) for text, of in specs.items()}

    def crossing_of(self, assignment: Assignment) -> Crossing | None:
        """Return the crossing of a training; None where it needs none."""
        return self.crossings.get(str(assignment.bridge))

    @property
    def teacher_dtype(self) -> torch.dtype:
        """Precision of stored teacher outputs: float32, or bfloat16 for states in bfloat16."""
        return torch.bfloat16 if self.suite.teacher.cache == "bf16" else torch.float32

    def check_lengths(self) -> None:
        """Check that no sequence can have more tokens than a model has positions.

        Raises:
            AdakdError: ``data.max_tokens`` is more.
        """
        limit = self.suite.data.max_tokens
        models = {"teacher": self.suite.teacher.base, "student": self.suite.student}
        models |= {f"student {one.name!r}": one.base for one in self.suite.students}
        for name, base in models.items():
            positions = None if isinstance(base, Pruned) else loading.context_length(base)
            if positions is not None and limit > positions:
                raise AdakdError(
                    f"suite {self.suite.name!r}, data.max_tokens: {limit}, but the {name} has "
                    f"{positions} positions: lower it to at most {positions}"
                )

    def model_folder(self, cell: Cell) -> Path:
        """Return the folder that a cell's trained model is saved in."""
        return model_folder(self.folder, cell.key)

    def checkpoints(self, cell: Cell) -> Path:
        """Return the folder of the checkpoints of a cell's training, which is gone after it."""
        return self.model_folder(cell).with_name("checkpoints")

    def load(self, assignment: Assignment) -> PreTrainedModel:
        """Return a cell's finished model, in float32 on the CPU.

        Raises:
            AdakdError: its training has failed, a file is not as it was saved, or its initial
                model cannot be loaded.
        """
        cell = assignment.cell
        if assignment.training is None:
            return self.initial(cell)
        folder = self.model_folder(cell)
        if not folder.exists():
            raise AdakdError(f"{cell}: no trained model in {folder}")
        if cell.key not in self._compared:
            check_files(cell, folder, self.saved.get(cell.key, {}))
            self._compared.add(cell.key)
        return loading.load_student(folder, lambda: self.initial(cell))

    def initial(self, cell: Cell) -> PreTrainedModel:
        """Return a cell's model before its training; its seed decides weights that are random.

        Raises:
            AdakdError: it cannot be loaded, or a student's tokenizer is not the teacher's.
        """
        is_teacher = cell.role == "teacher"
        base = self.suite.teacher.base if is_teacher else self.suite.student
        if cell.role == "elsewhere":
            named = {(one.name, one.seed): one.base for one in self.suite.students}
            base = named[str(cell.divergence), cell.seed]
        if isinstance(base, Scratch):
            return loading.scratch_model(base, self.tokenizer_of(cell), cell.seed)
        if isinstance(base, Pruned):
            return copy.deepcopy(self._pruned)
        if not is_teacher and not self.suite.crosses:
            loading.check_same_tokenizer(loading.load_tokenizer(base), self.tokenizer)
        return loading.load_model(base)

    @cached_property
    def _pruned(self) -> PreTrainedModel:
        base = self.suite.student
        assert isinstance(base, Pruned)
        return loading.prune(self.load(self.plan.teacher), base)


def _entries(base: Pretrained | Scratch | Pruned) -> int | None:
    """Return the number of entries of a pretrained model's vocabulary; None where it says none."""
    if not isinstance(base, Pretrained):
        return None
    size = getattr(loading.base_config(base).get_text_config(), "vocab_size", None)
    return size if isinstance(size, int) else None
