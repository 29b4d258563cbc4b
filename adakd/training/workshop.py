"""The models of a run: builds each cell's student, trains it, keeps it in ``cells/<key>/model``."""

import shutil
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from torch.nn import Module
from transformers import PreTrainedModel

from adakd.config import Pretrained, Pruned, Scratch, Training
from adakd.data import prompt_of, read_rows
from adakd.errors import AdakdError, NonFiniteLoss
from adakd.planning import Cell, Plan, total_steps, training_of
from adakd.records import Step, TrainingRecord
from adakd.training import models
from adakd.training.encoding import Encoded, encode
from adakd.training.objective import Objective, SupervisedObjective, TokenObjective
from adakd.training.trainer import OnStep, fit, live


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
            return models.load_tokenizer(base)
        rows = read_rows(self.suite.data.train, self.suite)
        texts = [prompt_of(row.instruction, row.input, "plain") + row.references[0] for row in rows]
        return models.train_tokenizer(texts, base.vocabulary)

    @cached_property
    def encoded(self) -> Encoded:
        """The training sequences."""
        rows = read_rows(self.suite.data.train, self.suite)
        return encode(rows, self.tokenizer, self.suite.data)

    @cached_property
    def teacher(self) -> Any:
        """The trained teacher, frozen, on the training device, in the training precision."""
        dtype = models.DTYPES[self.suite.training.precision]
        return models.place(self.load(self.plan.teacher), dtype).requires_grad_(False).eval()

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
            return models.scratch_model(base, self.tokenizer, seed)
        if isinstance(base, Pruned):
            return models.prune(self.load(self.plan.teacher), base)
        models.check_same_tokenizer(models.load_tokenizer(base), self.tokenizer)
        return models.load_model(base)

    def load(self, cell: Cell) -> PreTrainedModel:
        """Return a cell's model as it is to be scored, in float32 on the CPU.

        Raises:
            AdakdError: its training has failed, or its start cannot be loaded.
        """
        if training_of(cell, self.suite) is None:
            return self.start(cell)
        if not self.home(cell).exists():
            raise AdakdError(f"{cell}: there is no trained model in {self.home(cell)}")
        return models.load_student(self.home(cell), lambda: self.start(cell))

    def start(self, cell: Cell) -> PreTrainedModel:
        """Return a cell's model as it is before its own training."""
        base = self.suite.teacher.base
        if cell.role != "teacher":
            return self.untrained(cell.seed)
        if isinstance(base, Scratch):
            return models.scratch_model(base, self.tokenizer, cell.seed)
        return models.load_model(base)

    def on_device(self, cell: Cell) -> Any:
        """Return a cell's model on the device of this machine, to be scored."""
        return models.place(self.load(cell))

    def steps(self, cell: Cell) -> int:
        """Return the optimizer steps of a cell."""
        training = training_of(cell, self.suite)
        return 0 if training is None else total_steps(training, len(self.encoded.examples))

    def objective(self, cell: Cell) -> TokenObjective:
        """Return the loss that a cell is trained with, at its start."""
        divergence, adaptive = self.plan.parts(cell)
        if divergence is None:
            return SupervisedObjective()
        return Objective(divergence, adaptive, total_steps=self.steps(cell))

    def train(self, cell: Cell, on_step: OnStep = lambda _: None) -> TrainingRecord:
        """Train a cell from its last checkpoint, save its model and return its record.

        A loss that is not finite ends the training and is recorded, with its step.
        """
        training, start = training_of(cell, self.suite), time.perf_counter()
        if training is None:
            return TrainingRecord(key=cell.key, cell=cell, status="done")
        shutil.rmtree(self.home(cell), ignore_errors=True)  # saved, but killed before its record
        model = self.trainable(cell, training)
        checkpoints = self.home(cell).with_name("checkpoints")
        steps, failure = self._fit(cell, model, training, checkpoints, on_step)
        if failure is None:
            models.save(model, self.tokenizer, self.home(cell))
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
            rows=len(self.encoded.examples),
            left_out=self.encoded.left_out,
        )

    def trainable(self, cell: Cell, training: Training) -> Any:
        """Return a cell's model ready for training, with its adapters where it has them."""
        model = self.start(cell)
        if training.lora is None:
            return model
        return models.with_adapters(model, training.lora, cell.seed)

    def _fit(
        self, cell: Cell, model: Any, training: Training, checkpoints: Path, on_step: OnStep
    ) -> tuple[tuple[Step, ...], NonFiniteLoss | None]:
        objective = self.objective(cell)
        return fit(
            model=model,
            teacher=live(self.teacher) if objective.needs_teacher else None,
            objective=objective,
            encoded=self.encoded,
            pad=self.tokenizer.pad_token_id,
            training=training,
            seed=cell.seed,
            folder=checkpoints,
            on_step=on_step,
        )


def _count(model: Module, trainable: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)
