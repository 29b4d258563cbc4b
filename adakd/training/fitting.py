"""One training, from an assignment to a saved model and its record."""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module
from transformers import TrainingArguments, set_seed

from adakd.config.hashing import digest
from adakd.data.example import IGNORED, Example
from adakd.errors import NonFiniteLoss, one_line
from adakd.losses.objective import (
    Objective,
    SupervisedObjective,
    TokenObjective,
    next_token_labels,
)
from adakd.models import loading, sharding
from adakd.models.decoding import generation_mode
from adakd.models.forward import response
from adakd.planning import ResolvedAssignment
from adakd.store.disk import sync, writing
from adakd.store.records import BridgeUse, DiagnosticRecord, TrainingRecord
from adakd.store.steps import Step, Steps
from adakd.training import ranks
from adakd.training.batches import MicroBatches, PolicyBatches, Writer, policy_batches
from adakd.training.checkpoints import drop, load_state, newest_checkpoint
from adakd.training.context import RunContext
from adakd.training.diagnostics import DiagnosticsRecorder
from adakd.training.integrity import file_hashes
from adakd.training.loggers import logged
from adakd.training.row_order import row_order
from adakd.training.sequences import TrainingData, first_rows
from adakd.training.teacher_states import TeacherOutputs, TeacherStates, hidden_width
from adakd.training.trainer import POLICY, DistillationTrainer, OnStep

MEASURED = 8
"""Sequences on which the mass that a bridge compares is measured."""
Keep = Callable[[DiagnosticRecord], None]
"""Takes the diagnostics of a step."""
Finish = Callable[[TrainingRecord], None]
"""Takes the record of a training."""
Note = Callable[[str], None]
"""Takes a line for the user."""


def train(
    assignment: ResolvedAssignment,
    data: TrainingData,
    teacher: TeacherStates,
    on_step: OnStep = lambda _: None,
    keep: Keep = lambda _: None,
    note: Note = lambda _: None,
    finish: Finish = lambda _: None,
) -> TrainingRecord:
    """Train a cell from its last checkpoint, save its model and return its record.

    A loss or gradient that is not finite ends the training and is recorded with its step.

    Where several processes train together, each calls this with the same arguments; the first
    alone writes, calls `finish` and returns the files of the model.

    Args:
        assignment: the cell and its settings.
        data: the sequences of the run.
        teacher: the teacher of the run.
        on_step: called after each optimizer step with the number of finished steps.
        keep: called with the diagnostics of a step as soon as it is done.
        note: called with a line for each checkpoint that cannot be read.
        finish: called with the record once the model is saved, before the checkpoints are removed:
            whoever keeps it there loses no finished training.

    Raises:
        AdakdError: a model cannot be loaded, or the disk is full.
    """
    context, cell, training = data.context, assignment.cell, assignment.training
    if training is None:
        record = TrainingRecord(key=cell.key, cell=cell, status="done")
        finish(record)
        return record
    folder, start, first = context.model_folder(cell), time.perf_counter(), ranks.rank() == 0
    if first:
        shutil.rmtree(folder, ignore_errors=True)  # saved, but killed before its record
    checkpoints = context.checkpoints(cell)
    model = trainable_model(assignment, context)
    writer = _sharded(assignment, model) if training.shard and ranks.count() > 1 else nullcontext
    outputs = teacher.outputs(assignment) if cell.has_teacher else None
    objective = build_objective(assignment, model, outputs)
    settings, recorder = context.suite.diagnostics, None
    if settings.every and cell.role == "distilled" and isinstance(objective, Objective):
        recorder = DiagnosticsRecorder(
            settings,
            assignment,
            model,
            objective.divergence,
            context.tokenizer,
            keep,
            context.crossing_of(assignment),
        )
    batches = policy_batches(assignment, data, writer)
    use = bridge_use(batches, [*first_rows(batches.examples, assignment, MEASURED)], model, outputs)
    with logged(training, context.folder, context.suite.name, cell):
        trainer = DistillationTrainer(
            model=model,
            teacher=outputs,
            objective=objective,
            order=row_order(batches.examples, assignment, cell.seed),
            batches=batches,
            cross_entropy=assignment.cross_entropy,
            on_step=on_step,
            recorder=recorder,
            args=_arguments(assignment, context.suite.name, checkpoints),
            train_dataset=batches.examples,
            data_collator=MicroBatches(batches.collate, training.batch_size),
        )
        if not first:  # else all would drop the same units
            set_seed(int(digest("rank", cell.seed, ranks.rank()), 16) % 2**32)
        failure = _fit(trainer, objective, batches, checkpoints, note)
    whole = failure is None and sharding.is_sharded(model)
    state = sharding.whole_state(model) if whole else None
    if failure is None and first:
        loading.save(model, context.tokenizer_of(cell), folder, state)
        context.saved[cell.key] = file_hashes(folder)
    record = TrainingRecord(
        key=cell.key,
        cell=cell,
        status="failed" if failure else "done",
        reason=failure and str(failure),
        steps=Steps.model_validate(
            [_step(entry) for entry in trainer.state.log_history if "loss" in entry]
        ),
        seconds=time.perf_counter() - start,
        parameters=_count(model),
        trainable=_count(model, trainable=True),
        rows=assignment.rows,
        left_out=context.encoded_of(cell).left_out,
        bridge=use,
        files=dict(context.saved[cell.key]) if failure is None and first else {},
        **_overlap(context),
    )
    if first:
        finish(record)
        shutil.rmtree(checkpoints, ignore_errors=True)
        sync(checkpoints.parent)
    return record


def _sharded(assignment: ResolvedAssignment, model: Any) -> Writer:
    """Shard a student over the processes; return how its data policy gets it whole."""
    training = assignment.training
    assert training is not None
    precision = loading.DTYPES[training.precision]
    runs_alone = assignment.generates or assignment.held_out
    hollow = sharding.hollow_copy(model) if runs_alone else None
    section = "teacher.sft" if assignment.cell.role == "teacher" else "training"
    sharding.shard(model, precision, section)
    if hollow is None:
        return nullcontext
    return partial(sharding.gathered, hollow=hollow, precision=precision)


def bridge_use(
    batches: PolicyBatches, some: Sequence[Example], model: Any, teacher: TeacherOutputs | None
) -> BridgeUse | None:
    """Return how much of its data a training compares; None where both share a tokenizer.

    The masses are measured on some of its sequences, with the untrained student.
    """
    crossing = batches.collate.crossing
    if crossing is None or teacher is None:
        return None
    use, first = crossing.use(batches.examples), batches.collate(some)
    if not len(first["units"]):
        return use
    here = loading.device()
    if not sharding.is_sharded(model):
        model = loading.place(model)
    batch = {name: value.to(here) for name, value in first.items()}
    valid = next_token_labels(batch["labels"]) != IGNORED
    with generation_mode(model), torch.no_grad():
        sides = response(model, batch, valid), teacher(*crossing.teacher_batch(batch))
        mass, teacher_mass = crossing.masses(*sides, batch)
    sharding.reshard(model)
    return use.model_copy(update={"mass": mass, "teacher_mass": teacher_mass})


def _overlap(context: RunContext) -> dict[str, int]:
    """Return the number of rows that equal an evaluation item, left out or trained on."""
    kept = context.suite.data.overlap == "keep"
    return {"overlap_kept" if kept else "overlap_left_out": len(context.rows.overlapping)}


def trainable_model(assignment: ResolvedAssignment, context: RunContext) -> Any:
    """Return a cell's initial model, with adapters if its training has them."""
    model, training = context.initial(assignment.cell), assignment.training
    if training is None or training.lora is None:
        return model
    return loading.with_adapters(model, training.lora, assignment.cell.seed)


def build_objective(
    assignment: ResolvedAssignment, student: Any, teacher: TeacherOutputs | None
) -> TokenObjective:
    """Return the loss of a training in its initial state."""
    baseline, training = assignment.baseline, assignment.training
    if baseline is None or training is None or teacher is None:
        return SupervisedObjective()
    return Objective(
        baseline.divergence,
        assignment.adaptive,
        total_steps=assignment.steps,
        widths=(hidden_width(student), teacher.width),
        kernels=training.kernels,
    )


def _fit(
    trainer: DistillationTrainer,
    objective: TokenObjective,
    batches: PolicyBatches,
    checkpoints: Path,
    note: Note,
) -> NonFiniteLoss | None:
    """Train in place from the newest checkpoint; return a loss that is not finite, if any.

    Raises:
        AdakdError: the disk is full.
    """
    with trainer.accelerator.main_process_first():  # it removes what cannot be read
        checkpoint = _resumed(objective, batches, checkpoints, note)
    checkpoints.mkdir(parents=True, exist_ok=True)
    try:
        with writing(checkpoints, checkpoints):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except NonFiniteLoss as error:
        return error
    return None


def _resumed(
    objective: TokenObjective, batches: PolicyBatches, checkpoints: Path, note: Note
) -> Path | None:
    """Return the newest checkpoint, with the states of objective and data policy restored."""
    while (checkpoint := newest_checkpoint(checkpoints, note)) is not None:
        try:
            state = json.loads((checkpoint / POLICY).read_text())
            load_state(objective, checkpoint)
            batches.policy.load_state_dict(state)
        except Exception as error:  # written by another version, or of another objective
            drop(checkpoint, one_line(error), note)
        else:
            return checkpoint
    return None


def _arguments(assignment: ResolvedAssignment, suite: str, folder: Path) -> TrainingArguments:
    training, steps, cell = assignment.training, assignment.steps, assignment.cell
    assert training is not None
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=training.batch_size * ranks.count(),  # see MicroBatches
        gradient_accumulation_steps=training.gradient_accumulation // ranks.count(),
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        warmup_steps=round(training.warmup * steps),
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim="adamw_torch_fused",
        use_cpu=not torch.accelerator.is_available(),
        bf16=training.precision == "bf16",
        fp16=training.precision == "fp16",
        activation_checkpointing=training.gradient_checkpointing,
        seed=cell.seed,
        data_seed=cell.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_steps=training.save_every,
        save_total_limit=2,  # the older one, if a crash leaves the newer incomplete
        report_to=list(training.report_to) or "none",
        run_name=f"{cell.method}, seed {cell.seed}",
        project=suite,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.accelerator.is_available(),
        ddp_find_unused_parameters=False,  # the loss applies the LM head, outside of the model
        ddp_broadcast_buffers=False,
    )
    # Several GPUs in one process would be DataParallel, which copies the model without its hooks.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


_DIGITS = 6
"""Digits of recorded seconds: the clock tells no more than microseconds."""


def _step(entry: Mapping[str, Any]) -> Step:
    prefix = "seconds/"
    return Step(
        step=entry["step"],
        loss=entry["loss"],
        learning_rate=entry["learning_rate"],
        grad_norm=entry["grad_norm"],
        kept_ratio=entry["kept_ratio"],
        temperature=entry["temperature"],
        seconds={
            key.removeprefix(prefix): round(value, _DIGITS)
            for key, value in entry.items()
            if key.startswith(prefix)
        },
    )


def _count(model: Module, trainable: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)
