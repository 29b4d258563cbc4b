"""The overhead of an adaptive arm: steps of both arms in turn, on the same student and batches.

Two trainings minutes apart differ by what else the machine was doing. Here each pair of steps
follows within seconds, in alternating order, so a slow moment hits both arms.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from adakd.config import Timing, Training
from adakd.planning import PLAIN, Cell, timing_key
from adakd.results import TimedStep, TimingRecord
from adakd.training import models
from adakd.training.encoding import Collator
from adakd.training.objective import TokenObjective, next_token_labels
from adakd.training.phases import Clock, peak_bytes, reset_peak
from adakd.training.trainer import OnStep, distillation_loss, live
from adakd.training.workshop import Workshop


def measure_overhead(
    workshop: Workshop,
    plain: Cell,
    adaptive: Cell,
    timing: Timing,
    on_step: OnStep = lambda _: None,
) -> TimingRecord:
    """Return the interleaved steps of a pair.

    The adaptive arm runs as at the start of its training, with every token kept: the most that
    it can cost.
    """
    training = workshop.suite.training
    stepper = _Stepper(workshop, plain)
    arms = {PLAIN: workshop.objective(plain), adaptive.arm: workshop.objective(adaptive)}
    pairs: list[tuple[TimedStep, TimedStep]] = []
    tokens = 0
    for number, batch in enumerate(_batches(workshop, training, timing.warmup + timing.pairs)):
        order = list(arms) if number % 2 == 0 else list(arms)[::-1]
        done = {arm: stepper.step(arm, arms[arm], batch) for arm in order}
        if number >= timing.warmup:
            pairs.append((done[PLAIN], done[adaptive.arm]))
            tokens += int((next_token_labels(batch["labels"]) >= 0).sum())
        on_step(number + 1)
    return TimingRecord(
        key=timing_key(adaptive, timing),
        divergence=str(plain.divergence),
        arm=adaptive.arm,
        device=str(models.device()),
        tokens=round(tokens / max(1, len(pairs))),
        pairs=tuple(pairs),
    )


def _batches(workshop: Workshop, training: Training, count: int) -> list[dict[str, Tensor]]:
    examples, size = workshop.encoded.examples, training.batch_size
    collate = Collator(workshop.tokenizer.pad_token_id)
    picked = [
        [examples[(start * size + i) % len(examples)] for i in range(size)]
        for start in range(count)
    ]
    return [collate(batch) for batch in picked]


class _Stepper:
    """A student with its optimizer; takes single steps with whichever objective it is given."""

    def __init__(self, workshop: Workshop, cell: Cell) -> None:
        self.training = workshop.suite.training
        self.student = models.place(workshop.trainable(cell, self.training)).train()
        self.teacher = live(workshop.teacher)
        trained = [p for p in self.student.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=self.training.learning_rate, fused=True)

    def step(self, arm: str, objective: TokenObjective, batch: Mapping[str, Tensor]) -> TimedStep:
        clock = Clock()
        here = {key: value.to(self.student.device) for key, value in batch.items()}
        reset_peak()
        precision = models.DTYPES[self.training.precision]
        with torch.autocast(
            self.student.device.type, precision, enabled=precision != torch.float32
        ):
            loss = distillation_loss(self.student, self.teacher, objective, here, clock).loss
        with clock.phase("backward"):
            torch.autograd.backward(loss)
        with clock.phase("optimizer"):
            trained = self.optimizer.param_groups[0]["params"]
            torch.nn.utils.clip_grad_norm_(trained, self.training.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return TimedStep(arm=arm, seconds=clock.take(), peak_bytes=peak_bytes())
