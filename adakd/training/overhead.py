"""The overhead of an adaptive arm: steps of both arms in turn, on the same student and batches.

Two trainings minutes apart differ by what else the machine was doing. Here each pair of steps
follows within seconds, in alternating order, so a slow moment hits both arms. The peak of memory
is measured by two steps more, since that begins with giving freed memory back, which takes time.
"""

from collections.abc import Mapping

import torch
from accelerate.utils import convert_outputs_to_fp32
from torch import Tensor

from adakd.losses.objective import TokenObjective, next_token_labels
from adakd.models import loading
from adakd.planning import PLAIN, Cell, timing_key
from adakd.store.records import Phase, TimedStep, TimingRecord
from adakd.training.batches import Collator
from adakd.training.checkpoints import learned_parameters
from adakd.training.context import Workshop
from adakd.training.profiling import Clock, peak_bytes, reset_peak
from adakd.training.row_order import row_order
from adakd.training.trainer import OnStep, distillation_loss


def measure_overhead(
    workshop: Workshop,
    plain: Cell,
    adaptive: Cell,
    on_step: OnStep = lambda _: None,
) -> TimingRecord:
    """Return the interleaved steps of a pair.

    The adaptive arm runs as at the start of its training, with every token kept: the most that
    it can cost. A data policy runs as at the start of the training too, before each pair of steps,
    on the student that both share; what it hands out goes to both arms, and so do its seconds.
    """
    training, timing = workshop.suite.training, workshop.suite.timing
    stepper, feed = _Stepper(workshop, plain), workshop.lessons.feed(plain, training)
    arms = {cell.arm: stepper.objective(cell) for cell in (plain, adaptive)}
    batches: list[Mapping[str, Tensor]] = []
    seconds: list[dict[str, dict[Phase, float]]] = []
    for number, given in enumerate(_batches(workshop, plain, timing.warmup + timing.pairs)):
        clock = Clock()
        batches += feed([given], number, stepper.student, clock)
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
        key=timing_key(adaptive, timing),
        divergence=str(plain.divergence),
        arm=adaptive.arm,
        device=str(loading.device()),
        tokens=round(tokens / max(1, len(counted))),
        pairs=tuple((timed(PLAIN, both), timed(adaptive.arm, both)) for both in counted),
    )


def _batches(workshop: Workshop, cell: Cell, count: int) -> list[dict[str, Tensor]]:
    """Return the data set's batches as a training with the first seed meets them."""
    training = workshop.suite.training
    examples, size = workshop.lessons.encoded(cell).examples, training.batch_size
    collate = Collator(workshop.tokenizer.pad_token_id)
    order = list(row_order(examples, training, workshop.suite.seeds[0]))
    picked = [
        [examples[order[(start * size + i) % len(order)]] for i in range(size)]
        for start in range(count)
    ]
    return [collate(batch) for batch in picked]


class _Stepper:
    """A student with its optimizer; takes single steps with whichever objective it is given."""

    def __init__(self, workshop: Workshop, cell: Cell) -> None:
        self.workshop = workshop
        self.training = workshop.suite.training
        self.student = loading.place(workshop.trainable(cell, self.training)).train()
        precision = loading.DTYPES[self.training.precision]
        if precision != torch.float32:  # of the student's forward alone, as in the Trainer
            cast = torch.autocast(self.student.device.type, precision)
            self.student.forward = convert_outputs_to_fp32(cast(self.student.forward))
        self.teacher = workshop.teaching_of(cell)
        trained = [p for p in self.student.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=self.training.learning_rate, fused=True)

    def objective(self, cell: Cell) -> TokenObjective:
        """Return the loss of a cell; the optimizer learns what it learns from here on."""
        objective = self.workshop.objective(cell, self.student)
        learned = learned_parameters(objective, self.student.device)
        if learned:
            self.optimizer.add_param_group({"params": learned, "weight_decay": 0.0})
        return objective

    def peak(self, objective: TokenObjective, batch: Mapping[str, Tensor]) -> int | None:
        """Return the most memory in use during a step."""
        reset_peak()
        self.step(objective, batch)
        return peak_bytes()

    def step(self, objective: TokenObjective, batch: Mapping[str, Tensor]) -> dict[Phase, float]:
        """Return the seconds of the phases of a step."""
        clock = Clock()
        here = {key: value.to(self.student.device) for key, value in batch.items()}
        loss = distillation_loss(self.student, self.teacher, objective, here, clock).loss
        with clock.phase("backward"):
            torch.autograd.backward(loss)
        with clock.phase("optimizer"):
            trained = self.optimizer.param_groups[0]["params"]
            torch.nn.utils.clip_grad_norm_(trained, self.training.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return clock.take()
