"""transformers' Trainer with the distillation objective as its loss."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from adakd.config.suite import CrossEntropy
from adakd.data.example import IGNORED
from adakd.errors import NonFiniteLoss
from adakd.losses.lm_head import HiddenStates
from adakd.losses.objective import (
    Loss,
    Objective,
    SupervisedObjective,
    TokenObjective,
    next_token_labels,
)
from adakd.models.forward import Batch, response
from adakd.models.sharding import (
    is_sharded,
    split_optimizer_state,
    whole_optimizer_state,
    whole_state,
)
from adakd.training import ranks
from adakd.training.batches import PolicyBatches
from adakd.training.checkpoints import learned_parameters, save_state
from adakd.training.crossing import Crossing
from adakd.training.diagnostics import Compute, DiagnosticsRecorder
from adakd.training.profiling import Clock, now
from adakd.training.step_selection import StepSelection, select_over_step
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
    crossing: Crossing | None = None,
    cross_entropy: CrossEntropy = 0.0,
) -> Loss:
    """Return the loss of a batch: the one place where models meet the objective.

    Args:
        student: a causal language model, in training mode.
        teacher: live or from stored states; None to learn from the labels alone.
        objective: computes the loss from the outputs of both.
        batch: ``input_ids``, ``attention_mask`` and unshifted ``labels``, each of shape (B, L).
        clock: gets the seconds of the phases teacher, student and loss. LM heads count as loss
            if the loss applies them.
        crossing: leads to the teacher's tokens, where they are others; the loss is then over units.
        cross_entropy: weight of the mean cross-entropy to the labels, which comes beside the loss;
            see :func:`balanced`.
    """
    labels = next_token_labels(batch["labels"])
    valid = labels != IGNORED
    theirs = None
    if teacher is not None:
        with clock.phase("teacher"), torch.no_grad():
            theirs = teacher(*(crossing.teacher_batch(batch) if crossing else (batch, valid)))
    with clock.phase("student"):
        ours = response(student, batch, valid)
    with clock.phase("loss"):
        labels = labels[valid]
        supervised = _supervised(ours, labels, cross_entropy) if cross_entropy else None
        if crossing is None or theirs is None:
            loss = objective(ours, theirs, labels)
        else:
            loss = objective(*crossing(ours, theirs, batch))
        return replace(loss, supervised=supervised)


def _supervised(student: Tensor | HiddenStates, labels: Tensor, weight: CrossEntropy) -> Loss:
    """Return the mean cross-entropy to the labels, times its weight, which is 1 if dynamic."""
    loss = SupervisedObjective()(student, None, labels)
    return loss if weight == "dynamic" else replace(loss, loss=weight * loss.loss)


def balanced(divergence: Tensor, supervised: Tensor, cross_entropy: CrossEntropy) -> Tensor:
    r"""Return the sum of a divergence :math:`D` and a cross-entropy :math:`C`, of one micro-batch.

    With ``dynamic`` it is :math:`\frac{\mathrm{sg}(C)}{\mathrm{sg}(D)} D + C`, where sg stops the
    gradient: both terms have the same value, and D alone keeps its direction. It is C where D is 0.

    References:
        `X-Token <https://arxiv.org/abs/2605.21699>`_, 2026.
    """
    if cross_entropy != "dynamic":
        return divergence + supervised
    size = divergence.detach().abs()
    scale = torch.where(size > 0, supervised.detach().abs() / size, 1.0)
    return scale * divergence + supervised


class DistillationTrainer(Trainer):
    """A Trainer whose loss is an :class:`~adakd.Objective` over a student and a teacher.

    The log of a step also has the share of selected tokens, the mean temperature and the seconds
    of each phase; a checkpoint also has the states of the objective and of the data policy.

    Several processes share the micro-batches of a step: with N of them, process r trains on r,
    r + N, and so on, and the gradients are averaged once a step; those of a model that is sharded,
    by itself after each micro-batch, or every process would hold them whole. Every process reads
    the whole data set, so that order and steps are those of one.

    Args:
        objective: the loss.
        order: the order of the rows.
        batches: applies the data policy to the batches.
        teacher: see :func:`distillation_loss`.
        on_step: called after each optimizer step.
        recorder: records diagnostics of some steps; None of none.
        cross_entropy: see :func:`distillation_loss`.
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
        cross_entropy: CrossEntropy = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if is_sharded(self.model):  # only autocast is left to do, and no wrapper
            self.accelerator.prepare_model(self.model, False, evaluation_mode=True)
            vars(self.model)["_is_accelerate_prepared"] = True
        self.crossing, self.cross_entropy = batches.collate.crossing, cross_entropy
        self.objective: TokenObjective = objective
        self.order, self.batches, self.teacher, self.on_step = order, batches, teacher, on_step
        self.recorder = recorder
        self.clock = Clock()
        self.model_accepts_loss_kwargs = True  # so that the Trainer counts a step's labels
        self.loss_is_scaled_for_ga = True  # and compute_loss divides by that count
        self._losses: list[Loss] = []
        self._beside: list[Tensor] = []
        """What the loss of each micro-batch has beside its divergence."""
        self._own = 0
        """Micro-batches of this process that are left in a step; one beyond them counts nothing."""
        self._unselected: list[Any] = []
        """The micro-batches of a step whose tokens are to be selected over all of it."""
        self._selection: StepSelection | None = None
        self._backward_done = 0.0
        self._diagnosing = 0.0
        self.remove_callback(PrinterCallback)
        self.add_callback(_OptimizerPhase(self))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the data set, whole in every process: each item is a list of micro-batches.

        There is one for each process, but for the end of an epoch.
        """
        if ranks.count() == 1:
            # A checkpoint may be of another number of processes, whose items are larger.
            self._train_batch_size = self.args.per_device_train_batch_size
            return super().get_train_dataloader()
        rows: Any = self.train_dataset
        whole: DataLoader[Any] = DataLoader(
            rows,
            batch_size=self.args.per_device_train_batch_size,
            sampler=self.order,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        found: DataLoader[Any] = prepare_data_loader(
            whole, self.args.device, num_processes=1, process_index=0, put_on_device=True
        )
        return found

    def get_batch_samples(self, *args: Any) -> tuple[list[Any], Any]:
        """Return this process's micro-batches after the data policy, and the labels of the step."""
        items, _ = super().get_batch_samples(*args)
        given = [batch for item in items for batch in item]
        own = self.batches(given, self.state.global_step, self.model, self.clock)
        self._own = len(own)
        self._labels_of_step = count = self._counted(next_token_labels(b["labels"]) for b in own)
        if self.crossing is not None:
            count = self._counted(batch["unit_labels"] for batch in own)
        # All go through the model equally often, or they would wait for each other for ever.
        own += given[:1] * (len(items) - len(own))
        objective = self.objective
        by_step = isinstance(objective, Objective) and objective.selects_by_step
        if by_step and len(given) > 1:
            self._unselected = own
        return own, count

    def _counted(self, labels: Iterable[Tensor]) -> Tensor:
        """Return the number of labels over all processes."""
        none = torch.zeros((), dtype=torch.long, device=self.args.device)
        return self._summed(sum(((of != IGNORED).sum().to(none.device) for of in labels), none))

    def _summed(self, value: Tensor) -> Tensor:
        """Return the sum of the values of all processes."""
        total: Tensor = self.accelerator.reduce(value, reduction="sum")
        return total

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return this micro-batch's share of the mean over all response tokens of the step."""
        objective: Compute = self.objective
        teacher, part = self.teacher, None
        if self._selection is not None:
            objective = part = self._selection.take()
            teacher = part.teacher
        if self.recorder and not self._losses and self.is_world_process_zero():
            objective = self.recorder.capturing(objective, inputs, self.state.global_step + 1)
        result = distillation_loss(
            model, teacher, objective, inputs, self.clock, self.crossing, self.cross_entropy
        )
        if self.recorder:
            start = now()
            self.recorder.record()
            self._diagnosing = now() - start
        if int(self._summed((~result.loss.detach().isfinite()).long())):
            raise NonFiniteLoss(self.state.global_step + 1)
        self._own -= 1
        if self._own < 0:
            return result.loss * 0.0
        self._losses.append(result)
        if part is not None:
            loss = result.loss * part.share * self.accelerator.num_processes
        else:
            loss = self._share(result, num_items_in_batch)
        if result.supervised is not None:
            supervised = self._share(result.supervised, self._labels_of_step)
            alone, loss = loss, balanced(loss, supervised, self.cross_entropy)
            self._beside.append((loss - alone).detach())
        return loss

    def _share(self, result: Loss, of_step: Tensor) -> Tensor:
        """Return a micro-batch's share of a mean over a step's tokens, of which there are so many.

        The gradients of the processes are averaged afterwards.
        """
        share: Tensor = result.tokens / of_step.clamp(min=1)
        return result.loss * share * ranks.count()

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run forward and backward; the time that no other phase takes is the backward's."""
        if self._unselected:  # not before: a resumed training restores its random state last
            self._selection = self._select(*args)
        start, before = now(), sum(self.clock.seconds.values())
        loss = super().training_step(*args, **kwargs)
        if self._selection is not None and self._selection.finish():
            self._selection = None
        forward = sum(self.clock.seconds.values()) - before
        seconds = self.clock.seconds
        spent = now() - start - forward - self._diagnosing
        seconds["backward"] = seconds.get("backward", 0.0) + spent
        self._backward_done = now()
        return loss

    def _select(self, model: Any, *_: Any) -> StepSelection:
        """Return the selection over all micro-batches and devices of the step that begins."""
        assert isinstance(self.objective, Objective)
        assert self.teacher is not None
        batches, self._unselected = self._unselected, []
        model.train()
        with self.compute_loss_context_manager():
            return select_over_step(
                model,
                self.teacher,
                self.objective,
                [self._prepare_inputs(batch) for batch in batches],
                self.clock,
                own=self._own,
                crossing=self.crossing,
                rank=self.accelerator.process_index,
                gather=self._gather,
            )

    def _gather(self, scores: list[Tensor]) -> list[list[Tensor]]:
        """Return the scores of the micro-batches of every process, which have their own lengths."""
        if self.accelerator.num_processes == 1:
            return [scores]
        found: list[list[Tensor]] = gather_object([[one.cpu() for one in scores]])
        return [[one.to(self.args.device) for one in of] for of in found]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Pass the step's loss, the mean over all ranks, to the objective and add to the log."""
        if "loss" in logs:
            if not math.isfinite(logs.get("grad_norm", 0.0)) and not self._rescales():
                raise NonFiniteLoss(self.state.global_step, "gradient")
            own = [_sums(one) for one in self._losses], sum(map(float, self._beside))
            shares = gather_object([own])
            losses = [loss for of, _ in shares for loss in of]
            tokens, selected = (sum(loss[part] for loss in losses) or 1 for part in (0, 1))
            logs["kept_ratio"] = selected / tokens
            logs["temperature"] = sum(kept * tau for _, kept, tau in losses) / selected
            logs |= {f"seconds/{phase}": s for phase, s in self.clock.take().items()}
            self._losses.clear()
            self._beside.clear()
            beside = sum(of_rank for _, of_rank in shares) / len(shares)
            self.objective.step(logs["loss"] - beside)
            self.on_step(self.state.global_step)
        super().log(logs, start_time)

    def _rescales(self) -> bool:
        """Return whether a gradient scaler has left out a step and goes on with a smaller scale.

        Its first scale is a guess, which overflows float16 if it is too large; below 1 there is
        nothing left to lower.
        """
        scaler = self.accelerator.scaler
        return scaler is not None and bool(scaler.get_scale() >= 1)

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

    def _move_model_to_device(self, model: Any, device: torch.device) -> None:
        if not is_sharded(model):  # else it is there
            super()._move_model_to_device(model, device)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model; one that is sharded as a whole one."""
        if not is_sharded(self.model):
            super().save_model(output_dir, _internal_call)
            return
        state = whole_state(self.model)
        if self.args.should_save:
            self._save(output_dir, state_dict=state)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not is_sharded(self.model):
            super()._save_optimizer_and_scheduler(output_dir)
            return
        assert self.lr_scheduler is not None
        state = whole_optimizer_state(self.optimizer)
        if self.args.should_save:
            torch.save(state, Path(output_dir, OPTIMIZER_NAME))
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir, SCHEDULER_NAME))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not is_sharded(self.model) or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        optimizer, scheduler = (
            torch.load(Path(checkpoint, name), map_location="cpu", weights_only=True)
            for name in (OPTIMIZER_NAME, SCHEDULER_NAME)
        )
        self.optimizer.load_state_dict(split_optimizer_state(optimizer, self.optimizer))
        self.lr_scheduler.load_state_dict(scheduler)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.state.global_step >= self.state.max_steps:
            return  # the model is saved next; from here the Trainer would go on by one more step
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # each process writes the state of its own chance
        if self.args.should_save:
            folder = Path(str(self.args.output_dir), f"checkpoint-{self.state.global_step}")
            (folder / POLICY).write_text(json.dumps(self.batches.policy.state_dict()))
            save_state(self.objective, folder)


def _sums(one: Loss) -> tuple[int, int, float]:
    """Return the tokens of a loss, the selected ones and their temperature."""
    return one.tokens, one.selected, one.temperature


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
