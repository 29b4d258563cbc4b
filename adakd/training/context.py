"""The models of a run: builds each cell's student, trains it, keeps it in ``cells/<key>/model``."""

import copy
import shutil
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module
from transformers import PreTrainedModel

from adakd.config import Pretrained, Pruned, Scratch, Training
from adakd.config.hashing import digest
from adakd.data import prompt_of, read_rows
from adakd.data.tokenized import Encoded, encode
from adakd.errors import AdakdError, NonFiniteLoss
from adakd.losses.objective import Objective, SupervisedObjective, TokenObjective
from adakd.models import loading
from adakd.models.forward import head_of
from adakd.planning import Cell, Plan, training_of
from adakd.progress import Show
from adakd.store.disk import lack_of_room
from adakd.store.records import DiagnosticRecord, Step, TeachingRecord, TrainingRecord
from adakd.training.diagnostics import Watch
from adakd.training.row_order import world_size
from adakd.training.sequences import Lessons
from adakd.training.states_file import TeacherCache
from adakd.training.trainer import OnStep, Teacher, fit, live

Keep = Callable[[DiagnosticRecord], None]
"""Takes what a look inside a training has shown."""


class Workshop:
    """Everything that the cells of a run share: data, tokenizer and teacher, each made once."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.suite, self.folder = plan, plan.suite, folder
        self.tasks = folder / "tasks"

    # --- shared by all cells ----------------------------------------------------------------

    @cached_property
    def tokenizer(self) -> Any:
        """The teacher's tokenizer, which every student shares."""
        base = self.suite.teacher.base
        if isinstance(base, Pretrained):
            return loading.load_tokenizer(base)
        rows = read_rows(self.suite.data.train, self.suite)
        texts = [prompt_of(row.instruction, row.input, "plain") + row.references[0] for row in rows]
        return loading.train_tokenizer(texts, base.vocabulary)

    @cached_property
    def encoded(self) -> Encoded:
        """The sequences of the data set."""
        rows = read_rows(self.suite.data.train, self.suite)
        return encode(rows, self.tokenizer, self.suite.data)

    @cached_property
    def lessons(self) -> Lessons:
        """What each cell learns from."""
        load = partial(self.load, self.plan.teacher)
        return Lessons(self.plan, self.encoded, self.tokenizer, self.folder, load)

    @cached_property
    def teacher(self) -> Any:
        """The trained teacher, frozen, on the training device, in the training precision."""
        dtype, model = loading.DTYPES[self.suite.training.precision], self._whole_teacher
        del self._whole_teacher  # placed, it is another one: who needs it whole loads it again
        return loading.place(model, dtype).requires_grad_(False).eval()

    @cached_property
    def cache(self) -> TeacherCache | str:
        """Where the teacher's hidden states are kept, or why they are not."""
        mode, training = self.suite.teacher.cache, self.suite.training
        if mode == "off":
            return "teacher.cache is off"
        if world_size() > 1:
            return "several processes train together"
        model = self._whole_teacher
        head = head_of(model, {"input_ids": torch.zeros(1, 1, dtype=torch.long)})
        if isinstance(head, str):
            return f"its head cannot be taken from it, {head}"
        examples, dtype = self.lessons.read_by_teacher(), loading.DTYPES[mode]
        if not examples:
            return "every data policy of the suite makes its sequences in training"
        sequences = [(example.number, example.input_ids, example.labels) for example in examples]
        key = digest(loading.weights_digest(model), sequences, mode, training.batch_size)
        width = head.weight.shape[-1]
        head = head.to(loading.device(), loading.DTYPES[training.precision])
        folder = self.folder / "teacher" / key
        made = TeacherCache(folder, examples, training.batch_size, width, dtype, head)
        if made.missing and (lack := lack_of_room(folder, made.bytes)):
            return lack
        return made

    def fill_cache(self, show: Show = lambda _: None) -> None:
        """Let the teacher read what the cache lacks: in float32, but for a cache in bfloat16."""
        assert isinstance(self.cache, TeacherCache)
        model = loading.place(self._whole_teacher, self.lessons.teacher_dtype).eval()
        self.cache.fill(model, self.tokenizer.pad_token_id, show)

    @cached_property
    def teaching(self) -> Teacher:
        """What students learn from: the filled cache, or the teacher itself."""
        if isinstance(self.cache, str):
            return live(self.teacher)
        if self.cache.missing:
            self.fill_cache()
        vars(self).pop("_whole_teacher", None)  # its head is all that is needed from here on
        return self.cache

    @cached_property
    def _pruned(self) -> PreTrainedModel:
        base = self.suite.student
        assert isinstance(base, Pruned)
        return loading.prune(self.load(self.plan.teacher), base)

    def teaching_of(self, cell: Cell) -> Teacher:
        """Return what a cell learns from: the teacher itself where nothing could be kept."""
        return live(self.teacher) if self.lessons.is_fresh(cell) else self.teaching

    def teaching_record(self, seconds: float) -> TeachingRecord:
        """Return how the teacher's part is had; `seconds` is what filling the cache took."""
        per_step, lessons = self.suite.training.sequences, self.lessons
        cells = [cell for cell in self.plan.cells if cell.has_teacher]
        key, cache = self.plan.teaching_key, self.cache
        if not isinstance(cache, str):
            cells = [cell for cell in cells if not lessons.is_fresh(cell)]
        readings = sum(self.steps(cell) * per_step for cell in cells)
        if isinstance(cache, str):
            sequences = len(lessons.read_by_teacher())
            return TeachingRecord(
                key=key, cache="off", reason=cache, sequences=sequences, readings=readings
            )
        return TeachingRecord(
            key=key,
            cache=self.suite.teacher.cache,
            sequences=len(cache.examples),
            readings=readings,
            tokens=cache.tokens,
            size=cache.bytes,
            seconds=seconds,
        )

    @cached_property
    def _whole_teacher(self) -> Any:
        return self.load(self.plan.teacher)

    # --- one cell ---------------------------------------------------------------------------

    def home(self, cell: Cell) -> Path:
        """Return the folder that a cell's model is saved in."""
        return self.folder / "cells" / cell.key / "model"

    def untrained(self, seed: int) -> PreTrainedModel:
        """Return a student as it is before training; `seed` decides weights that are random.

        Raises:
            AdakdError: the student cannot be loaded, or its tokenizer is not the teacher's.
        """
        base = self.suite.student
        if isinstance(base, Scratch):
            return loading.scratch_model(base, self.tokenizer, seed)
        if isinstance(base, Pruned):
            return copy.deepcopy(self._pruned)
        loading.check_same_tokenizer(loading.load_tokenizer(base), self.tokenizer)
        return loading.load_model(base)

    def load(self, cell: Cell) -> PreTrainedModel:
        """Return a cell's model as it is to be scored, in float32 on the CPU.

        Raises:
            AdakdError: its training has failed, or its start cannot be loaded.
        """
        if training_of(cell, self.suite) is None:
            return self.start(cell)
        if not self.home(cell).exists():
            raise AdakdError(f"{cell}: there is no trained model in {self.home(cell)}")
        return loading.load_student(self.home(cell), lambda: self.start(cell))

    def start(self, cell: Cell) -> PreTrainedModel:
        """Return a cell's model as it is before its own training."""
        base = self.suite.teacher.base
        if cell.role != "teacher":
            return self.untrained(cell.seed)
        if isinstance(base, Scratch):
            return loading.scratch_model(base, self.tokenizer, cell.seed)
        return loading.load_model(base)

    def on_device(self, cell: Cell) -> Any:
        """Return a cell's model on the device of this machine, to be scored."""
        return loading.place(self.load(cell))

    def steps(self, cell: Cell) -> int:
        """Return the optimizer steps of a cell."""
        return self.lessons.steps(cell)

    def objective(self, cell: Cell, student: Any) -> TokenObjective:
        """Return the loss that a cell's `student` is trained with, at its start."""
        baseline, adaptive = self.plan.parts(cell)
        if baseline is None:
            return SupervisedObjective()
        teaching, steps = self.teaching_of(cell), self.steps(cell)
        theirs = teaching.width if isinstance(teaching, TeacherCache) else _width(self.teacher)
        widths = _width(student), theirs
        kernels = self.suite.training.kernels
        return Objective(
            baseline.divergence, adaptive, total_steps=steps, widths=widths, kernels=kernels
        )

    def train(
        self, cell: Cell, on_step: OnStep = lambda _: None, keep: Keep = lambda _: None
    ) -> TrainingRecord:
        """Train a cell from its last checkpoint, save its model and return its record.

        A loss that is not finite ends the training and is recorded, with its step. Diagnostics go
        to `keep` at once.
        """
        training, start = training_of(cell, self.suite), time.perf_counter()
        if training is None:
            return TrainingRecord(key=cell.key, cell=cell, status="done")
        shutil.rmtree(self.home(cell), ignore_errors=True)  # saved, but killed before its record
        model = self.trainable(cell, training)
        checkpoints = self.home(cell).with_name("checkpoints")
        steps, failure = self._fit(cell, model, training, checkpoints, on_step, keep)
        if failure is None:
            loading.save(model, self.tokenizer, self.home(cell))
        shutil.rmtree(checkpoints, ignore_errors=True)
        return TrainingRecord(
            key=cell.key,
            cell=cell,
            status="failed" if failure else "done",
            reason=failure and str(failure),
            steps=steps,
            seconds=time.perf_counter() - start,
            parameters=_count(model),
            trainable=_count(model, trainable=True),
            rows=self.lessons.rows(cell),
            left_out=self.encoded.left_out,
        )

    def trainable(self, cell: Cell, training: Training) -> Any:
        """Return a cell's model ready for training, with its adapters where it has them."""
        model = self.start(cell)
        if training.lora is None:
            return model
        return loading.with_adapters(model, training.lora, cell.seed)

    def _fit(
        self,
        cell: Cell,
        model: Any,
        training: Training,
        checkpoints: Path,
        on_step: OnStep,
        keep: Keep,
    ) -> tuple[tuple[Step, ...], NonFiniteLoss | None]:
        objective = self.objective(cell, model)
        return fit(
            model=model,
            teacher=self.teaching_of(cell) if objective.needs_teacher else None,
            objective=objective,
            encoded=self.lessons.encoded(cell),
            feed=self.lessons.feed(cell, training),
            training=training,
            seed=cell.seed,
            folder=checkpoints,
            on_step=on_step,
            watch=self._watch(cell, model, objective, keep),
        )

    def _watch(
        self, cell: Cell, student: Any, objective: TokenObjective, keep: Keep
    ) -> Watch | None:
        settings = self.suite.diagnostics
        if not settings.every or cell.role != "distilled" or not isinstance(objective, Objective):
            return None
        divergence, steps = objective.divergence, self.steps(cell)
        return Watch(settings, steps, cell, student, divergence, self.tokenizer, keep)


def _width(model: Any) -> int:
    """Return the width of the hidden states that a model's head takes."""
    width: int = model.get_output_embeddings().weight.shape[-1]
    return width


def _count(model: Module, trainable: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)
