"""The overhead of an adaptive arm: steps of both arms in turn, on the same student and batches.

Two trainings minutes apart differ by the machine's other load. Here the steps of a pair follow each
other within seconds, in alternating order, so a slow moment affects both arms. The memory peak is
measured in two further steps, since that begins with returning freed memory, which takes time.
"""

from collections.abc import Mapping

import torch
from accelerate.utils import convert_outputs_to_fp32
from torch import Tensor

from adakd.losses.objective import Objective, TokenObjective, next_token_labels
from adakd.models import loading
from adakd.planning import PLAIN, ResolvedAssignment, timing_key
from adakd.store.records import TimedStep, TimingRecord
from adakd.store.steps import Phase
from adakd.training.batches import Collator, policy_batches
from adakd.training.checkpoints import learned_parameters
from adakd.training.diagnostics import Compute
from adakd.training.fitting import build_objective, trainable_model
from adakd.training.profiling import Clock, peak_bytes, reset_peak
from adakd.training.row_order import row_order
from adakd.training.sequences import TrainingData
from adakd.training.step_selection import select_over_step
from adakd.training.teacher_states import TeacherStates
from adakd.training.trainer import OnStep, balanced, distillation_loss


def measure_overhead(
    plain: ResolvedAssignment,
    adaptive: ResolvedAssignment,
    data: TrainingData,
    teacher: TeacherStates,
    on_step: OnStep = lambda _: None,
) -> TimingRecord:
    """Return the interleaved steps of a pair.

    The adaptive arm runs as at the start of its training, with every token selected: its highest
    cost. A data policy also runs as at the start of the training, before each pair of steps, on
    the student that both arms share; both get its batch, and its seconds.
    """
    timing = data.context.suite.timing
    stepper, apply_policy = _Stepper(plain, data, teacher), policy_batches(plain, data)
    arms = {one.cell.arm: stepper.objective(one) for one in (plain, adaptive)}
    batches: list[Mapping[str, Tensor]] = []
    seconds: list[dict[str, dict[Phase, float]]] = []
    for number, given in enumerate(_batches(plain, data, timing.warmup + timing.pairs)):
        clock = Clock()
        batches += apply_policy([given], number, stepper.student, clock)
        before = clock.take()
        order = list(arms) if number % 2 == 0 else list(arms)[::-1]
        seconds.append({arm: before | stepper.step(arms[arm], batches[-1]) for arm in order})
        on_step(number + 1)
    largest = max(batches, key=lambda batch: batch["input_ids"].numel())
    peaks = {arm: stepper.peak(objective, largest) for arm, objective in arms.items()}

    def timed(arm: str, of_arm: dict[str, dict[Phase, float]]) -> TimedStep:
        return TimedStep(arm=arm, seconds=of_arm[arm], peak_bytes=peaks[arm])

    counted = seconds[timing.warmup :]
    tokens = sum(
        int((next_token_labels(batch["labels"]) >= 0).sum()) for batch in batches[timing.warmup :]
    )
    return TimingRecord(
        key=timing_key(adaptive.recipe, timing),
        divergence=str(plain.cell.divergence),
        arm=adaptive.cell.arm,
        device=str(loading.device()),
        tokens=round(tokens / max(1, len(counted))),
        pairs=tuple((timed(PLAIN, both), timed(adaptive.cell.arm, both)) for both in counted),
    )


def _batches(
    assignment: ResolvedAssignment, data: TrainingData, count: int
) -> list[dict[str, Tensor]]:
    """Return the first batches of the data set in a training with the first seed."""
    training, suite = assignment.training, data.context.suite
    assert training is not None
    examples, size = data.training_set(assignment).examples, training.batch_size
    context = data.context
    collate = Collator(context.tokenizer.pad_token_id, context.crossing_of(assignment))
    order = list(row_order(examples, assignment, suite.seeds[0]))
    picked = [
        [examples[order[(start * size + i) % len(order)]] for i in range(size)]
        for start in range(count)
    ]
    return [collate(batch) for batch in picked]


class _Stepper:
    """A student with its optimizer; takes single steps with a given objective."""

    def __init__(
        self, assignment: ResolvedAssignment, data: TrainingData, teacher: TeacherStates
    ) -> None:
        self.training = data.context.suite.training
        self.student = loading.place(trainable_model(assignment, data.context)).train()
        precision = loading.DTYPES[self.training.precision]
        if precision != torch.float32:  # the student's forward alone, as in the Trainer
            cast = torch.autocast(self.student.device.type, precision)
            self.student.forward = convert_outputs_to_fp32(cast(self.student.forward))
        self.teacher = teacher.outputs(assignment)
        self.crossing = data.context.crossing_of(assignment)
        self.cross_entropy = assignment.cross_entropy
        # With a single micro-batch a step needs no first pass.
        self.selects_first = self.training.gradient_accumulation > 1
        trained = [p for p in self.student.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=self.training.learning_rate, fused=True)

    def objective(self, assignment: ResolvedAssignment) -> TokenObjective:
        """Return the loss of a training, and add its parameters to the optimizer."""
        objective = build_objective(assignment, self.student, self.teacher)
        learned = learned_parameters(objective, self.student.device)
        if learned:
            self.optimizer.add_param_group({"params": learned, "weight_decay": 0.0})
        return objective

    def peak(self, objective: TokenObjective, batch: Mapping[str, Tensor]) -> int | None:
        """Return the memory peak of a step."""
        reset_peak()
        self.step(objective, batch)
        return peak_bytes()

    def step(self, objective: TokenObjective, batch: Mapping[str, Tensor]) -> dict[Phase, float]:
        """Return the seconds of the phases of a step."""
        clock = Clock()
        here = {key: value.to(self.student.device) for key, value in batch.items()}
        compute: Compute = objective
        teacher, selection = self.teacher, None
        if self.selects_first and isinstance(objective, Objective) and objective.selects_by_step:
            selection = select_over_step(
                self.student, teacher, objective, [here], clock, crossing=self.crossing
            )
            compute = part = selection.take()
            teacher = part.teacher
        result = distillation_loss(
            self.student, teacher, compute, here, clock, self.crossing, self.cross_entropy
        )
        loss = result.loss
        if result.supervised is not None:
            loss = balanced(loss, result.supervised.loss, self.cross_entropy)
        with clock.phase("backward"):
            torch.autograd.backward(loss)
            if selection is not None:
                selection.finish()
        with clock.phase("optimizer"):
            trained = self.optimizer.param_groups[0]["params"]
            torch.nn.utils.clip_grad_norm_(trained, self.training.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return clock.take()
