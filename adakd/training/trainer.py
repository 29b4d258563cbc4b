"""transformers' Trainer with the distillation objective as its loss."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback

from adakd.data.example import IGNORED
from adakd.errors import NonFiniteLoss
from adakd.losses.objective import Loss, TokenObjective, next_token_labels
from adakd.models.forward import Batch, response
from adakd.training.batches import PolicyBatches
from adakd.training.checkpoints import learned_parameters, save_state
from adakd.training.diagnostics import Compute, DiagnosticsRecorder
from adakd.training.profiling import Clock, now
from adakd.training.teacher_states import TeacherOutputs

OnStep = Callable[[int], None]
"""Called after each optimizer step with the number of finished steps."""
POLICY = "policy.json"
"""The data policy's state in a checkpoint, written before the objective's."""


def distillation_loss(
    student: Any,
    teacher: TeacherOutputs | None,
    objective: Compute,
    batch: Batch,
    clock: Clock,
) -> Loss:
    """Return the loss of a batch: the one place where models meet the objective.

    Args:
        student: a causal language model, in training mode.
        teacher: live or from stored states; None to learn from the labels alone.
        objective: computes the loss from the outputs of both.
        batch: ``input_ids``, ``attention_mask`` and unshifted ``labels``, each of shape (B, L).
        clock: gets the seconds of the phases teacher, student and loss. LM heads count as loss
            if the loss applies them.
    """
    labels = next_token_labels(batch["labels"])
    valid = labels != IGNORED
    theirs = None
    if teacher is not None:
        with clock.phase("teacher"), torch.no_grad():
            theirs = teacher(batch, valid)
    with clock.phase("student"):
        ours = response(student, batch, valid)
    with clock.phase("loss"):
        return objective(ours, theirs, labels[valid])


class DistillationTrainer(Trainer):
    """A Trainer whose loss is an :class:`~adakd.Objective` over a student and a teacher.

    The log of a step also has the share of selected tokens, the mean temperature and the seconds
    of each phase; a checkpoint also has the states of the objective and of the data policy.

    Args:
        objective: the loss.
        order: the order of the rows.
        batches: applies the data policy to the batches.
        teacher: see :func:`distillation_loss`.
        on_step: called after each optimizer step.
        recorder: records diagnostics of some steps; None of none.
        options: those of ``transformers.Trainer``.
    """

    def __init__(
        self,
        *,
        objective: TokenObjective,
        order: Sampler[int],
        batches: PolicyBatches,
        teacher: TeacherOutputs | None = None,
        on_step: OnStep = lambda _: None,
        recorder: DiagnosticsRecorder | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.objective: TokenObjective = objective
        self.order, self.batches, self.teacher, self.on_step = order, batches, teacher, on_step
        self.recorder = recorder
        self.clock = Clock()
        self.model_accepts_loss_kwargs = True  # so that the Trainer counts a step's labels
        self.loss_is_scaled_for_ga = True  # and compute_loss divides by that count
        self._losses: list[Loss] = []
        self._backward_done = 0.0
        self._diagnosing = 0.0
        self.remove_callback(PrinterCallback)
        self.add_callback(_OptimizerPhase(self))

    def get_batch_samples(self, *args: Any) -> tuple[list[Any], Any]:
        """Return a step's micro-batches after the data policy, and the number of their labels."""
        batches, _ = super().get_batch_samples(*args)
        batches = self.batches(batches, self.state.global_step, self.model, self.clock)
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
        if self.recorder and not self._losses and self.is_world_process_zero():
            objective = self.recorder.capturing(objective, inputs, self.state.global_step + 1)
        result = distillation_loss(model, self.teacher, objective, inputs, self.clock)
        if self.recorder:
            start = now()
            self.recorder.record()
            self._diagnosing = now() - start
        if not result.loss.isfinite():
            raise NonFiniteLoss(self.state.global_step + 1)
        self._losses.append(result)
        share = result.tokens / num_items_in_batch if num_items_in_batch is not None else 1.0
        ranks = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return result.loss * share * ranks  # the ranks' gradients are averaged afterwards

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run forward and backward; the time that no other phase takes is the backward's."""
        start, before = now(), sum(self.clock.seconds.values())
        loss = super().training_step(*args, **kwargs)
        forward = sum(self.clock.seconds.values()) - before
        seconds = self.clock.seconds
        spent = now() - start - forward - self._diagnosing
        seconds["backward"] = seconds.get("backward", 0.0) + spent
        self._backward_done = now()
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Pass the step's loss, the mean over all ranks, to the objective and add to the log."""
        if "loss" in logs:
            if not math.isfinite(logs.get("grad_norm", 0.0)):
                raise NonFiniteLoss(self.state.global_step, "gradient")
            tokens = sum(loss.tokens for loss in self._losses) or 1
            ratios = [loss.selected_ratio * loss.tokens for loss in self._losses]
            temperatures = [float(loss.temperature) * loss.tokens for loss in self._losses]
            logs["kept_ratio"] = sum(ratios) / tokens
            logs["temperature"] = sum(temperatures) / tokens
            logs |= {f"seconds/{phase}": s for phase, s in self.clock.take().items()}
            self._losses.clear()
            self.objective.step(logs["loss"])
            self.on_step(self.state.global_step)
        super().log(logs, start_time)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Add the objective's parameters to the student's optimizer, without weight decay."""
        learned = learned_parameters(self.objective, self.args.device)
        made = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if made and learned:
            optimizer.add_param_group({"params": learned, "weight_decay": 0.0})
        return optimizer

    def _get_train_sampler(self, *_: Any) -> Sampler[int]:
        return self.order

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.state.global_step >= self.state.max_steps:
            return  # the model is saved next; from here the Trainer would go on by one more step
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # each process writes the state of its own chance
        if self.args.should_save:
            folder = Path(str(self.args.output_dir), f"checkpoint-{self.state.global_step}")
            (folder / POLICY).write_text(json.dumps(self.batches.policy.state_dict()))
            save_state(self.objective, folder)


class _OptimizerPhase(TrainerCallback):
    """Times gradient clipping and the optimizer's step as one phase.

    The Trainer handles the model's gradients alone: those of the objective's own parameters are
    averaged over the ranks and cleared here.
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
