"""One training: transformers' Trainer with the distillation objective in its loss."""

import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from adakd.config import Training
from adakd.data.example import IGNORED
from adakd.data.tokenized import Encoded
from adakd.errors import NonFiniteLoss
from adakd.losses.lm_head import HiddenStates
from adakd.losses.objective import Loss, TokenObjective, next_token_labels
from adakd.models.forward import Batch, response
from adakd.planning import total_steps
from adakd.store.disk import writing
from adakd.store.records import Step
from adakd.training.batches import Feed
from adakd.training.checkpoints import learned_parameters, load_state, newest_checkpoint, save_state
from adakd.training.diagnostics import Compute, Watch
from adakd.training.profiling import Clock, now
from adakd.training.row_order import row_order, world_size

OnStep = Callable[[int], None]
"""Called after each optimizer step with the number of steps done."""
Teacher = Callable[[Batch, Tensor], Tensor | HiddenStates]
"""Of a batch and its counted positions: what a teacher says there, as :func:`response` does."""
POLICY = "policy.json"
"""Written into a checkpoint before the objective's state: that of the data policy."""


def distillation_loss(
    student: Any,
    teacher: Teacher | None,
    objective: Compute,
    batch: Batch,
    clock: Clock,
) -> Loss:
    """Return the loss of a batch: the one place where models meet the objective.

    Args:
        student: a causal language model, in training mode.
        teacher: a frozen one, as :func:`live` makes it, or what was remembered of it; None where
            the labels alone teach.
        objective: what is made of the two.
        batch: ``input_ids``, ``attention_mask`` and unshifted ``labels``, each of shape (B, L).
        clock: gets the seconds of the phases teacher, student and loss. The heads count as loss
            where the loss applies them.
    """
    labels = next_token_labels(batch["labels"])
    counted = labels != IGNORED
    theirs = None
    if teacher is not None:
        with clock.phase("teacher"), torch.no_grad():
            theirs = teacher(batch, counted)
    with clock.phase("student"):
        ours = response(student, batch, counted)
    with clock.phase("loss"):
        return objective(ours, theirs, labels[counted])


def live(model: Any) -> Teacher:
    """Return a model as a teacher that reads every batch."""
    return partial(response, model)


class DistillationTrainer(Trainer):
    """A Trainer whose loss is an :class:`~adakd.Objective` over a student and a teacher.

    Every logged step also carries the kept ratio, the mean temperature and the seconds of each
    phase; checkpoints also carry the objective's state.

    Args:
        objective: the loss.
        order: the order of the rows.
        feed: what becomes of them before the student meets them.
        teacher: what teaches, see :func:`distillation_loss`; None to learn from labels.
        on_step: called after each optimizer step.
        watch: looks at some of the steps; None at none.
        options: those of ``transformers.Trainer``.
    """

    def __init__(
        self,
        *,
        objective: TokenObjective,
        order: Sampler[int],
        feed: Feed,
        teacher: Teacher | None = None,
        on_step: OnStep = lambda _: None,
        watch: Watch | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.objective: TokenObjective = objective
        self.order, self.feed, self.teacher, self.on_step = order, feed, teacher, on_step
        self.watch = watch
        self.clock = Clock()
        self.model_accepts_loss_kwargs = True  # so that the Trainer counts a step's labels
        self.loss_is_scaled_for_ga = True  # and compute_loss divides by that count
        self._losses: list[Loss] = []
        self._backward_done = 0.0
        self._looking = 0.0
        self.remove_callback(PrinterCallback)
        self.add_callback(_OptimizerPhase(self))

    def get_batch_samples(self, *args: Any) -> tuple[list[Any], Any]:
        """Return a step's micro-batches as the data policy hands them out, and their labels."""
        batches, _ = super().get_batch_samples(*args)
        batches = self.feed(batches, self.state.global_step, self.model, self.clock)
        return batches, self._get_num_items_in_batch(batches, self.args.device)

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return this micro-batch's share of the mean over all response tokens of the step."""
        objective: Compute = self.objective
        if self.watch and not self._losses and self.is_world_process_zero():
            objective = self.watch.over(objective, inputs, self.state.global_step + 1)
        result = distillation_loss(model, self.teacher, objective, inputs, self.clock)
        if self.watch:
            start = now()
            self.watch.look()
            self._looking = now() - start
        if not result.loss.isfinite():
            raise NonFiniteLoss(self.state.global_step + 1)
        self._losses.append(result)
        share = result.tokens / num_items_in_batch if num_items_in_batch is not None else 1.0
        ranks = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return result.loss * share * ranks  # the ranks' gradients are averaged afterwards

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run forward and backward; what the clock has not counted yet is the backward."""
        start, counted = now(), sum(self.clock.seconds.values())
        loss = super().training_step(*args, **kwargs)
        forward = sum(self.clock.seconds.values()) - counted
        seconds = self.clock.seconds
        spent = now() - start - forward - self._looking
        seconds["backward"] = seconds.get("backward", 0.0) + spent
        self._backward_done = now()
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Tell the objective the step's loss, the mean over all ranks, and log what it did."""
        if "loss" in logs:
            if not math.isfinite(logs.get("grad_norm", 0.0)):
                raise NonFiniteLoss(self.state.global_step, "gradient")
            tokens = sum(loss.tokens for loss in self._losses) or 1
            for field, of in (("kept_ratio", "selected_ratio"), ("temperature", "temperature")):
                parts = [float(getattr(loss, of)) * loss.tokens for loss in self._losses]
                logs[field] = sum(parts) / tokens
            logs |= {f"seconds/{phase}": s for phase, s in self.clock.take().items()}
            self._losses.clear()
            self.objective.step(logs["loss"])
            self.on_step(self.state.global_step)
        super().log(logs, start_time)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Let the student's optimizer also learn what the objective learns, without decay."""
        learned = learned_parameters(self.objective, self.args.device)
        made = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if made and learned:
            optimizer.add_param_group({"params": learned, "weight_decay": 0.0})
        return optimizer

    def _get_train_sampler(self, *_: Any) -> Sampler[int]:
        return self.order

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(str(self.args.output_dir), f"checkpoint-{self.state.global_step}")
            (folder / POLICY).write_text(json.dumps(self.feed.policy.state_dict()))
            save_state(self.objective, folder)


class _OptimizerPhase(TrainerCallback):
    """Counts gradient clipping and the optimizer's step as one phase.

    The Trainer looks after the model's gradients alone: those of the objective's own parameters
    are averaged over the ranks and cleared here.
    """

    def __init__(self, trainer: DistillationTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        if self.trainer.accelerator.num_processes > 1:
            for parameter in self.trainer.objective.parameters():
                own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self.trainer.accelerator.reduce(own, reduction="mean")

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        for parameter in self.trainer.objective.parameters():
            parameter.grad = None
        spent = now() - self.trainer._backward_done
        self.trainer.clock.seconds["optimizer"] = spent


def fit(
    model: Any,
    teacher: Teacher | None,
    objective: TokenObjective,
    encoded: Encoded,
    feed: Feed,
    training: Training,
    seed: int,
    folder: Path,
    on_step: OnStep = lambda _: None,
    watch: Watch | None = None,
) -> tuple[tuple[Step, ...], NonFiniteLoss | None]:
    """Train `model` in place; goes on from the newest checkpoint.

    Args:
        model: the student, or a teacher in SFT.
        teacher: see :class:`DistillationTrainer`.
        objective: the loss.
        encoded: the training sequences.
        feed: the data policy at work on them.
        training: the settings.
        seed: decides the data order and dropout.
        folder: keeps the checkpoints; the caller removes it once the model is saved.
        on_step: called after each optimizer step.
        watch: see :class:`DistillationTrainer`.

    Returns:
        The steps done, and what ended the training before its time: a loss or a gradient that
        is not finite.

    Raises:
        AdakdError: the disk is full.
    """
    trainer = DistillationTrainer(
        model=model,
        teacher=teacher,
        objective=objective,
        order=row_order(encoded.examples, training, seed),
        feed=feed,
        on_step=on_step,
        watch=watch,
        args=_arguments(training, len(encoded.examples), seed, folder),
        train_dataset=encoded.examples,
        data_collator=feed.collate,
    )
    checkpoint = newest_checkpoint(folder)
    if checkpoint is not None:
        load_state(objective, checkpoint)
        feed.policy.load_state_dict(json.loads((checkpoint / POLICY).read_text()))
    failure = None
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with writing(folder, folder):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except NonFiniteLoss as error:
        failure = error
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    return tuple(_step(entry) for entry in history), failure


def _arguments(training: Training, rows: int, seed: int, folder: Path) -> TrainingArguments:
    steps = total_steps(training, rows, devices=world_size())
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation,
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
        seed=seed,
        data_seed=seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_steps=training.save_every,
        save_total_limit=2,  # a checkpoint that a crash left incomplete has one before it
        report_to=list(training.report_to) or "none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.accelerator.is_available(),
    )
    # Several GPUs in one process would be DataParallel, which copies the model without its hooks.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


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
            key.removeprefix(prefix): value
            for key, value in entry.items()
            if key.startswith(prefix)
        },
    )
