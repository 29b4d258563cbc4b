"""Training steps of a 135M teacher and a student of 10 of its 30 layers: ours and the reference.

The models are SmolLM2-135M's in shape. Their weights are random, with embeddings so large that the
logits are as peaked as those of real text; the student's layers are the teacher's, every third.
"""

import os
import time
from collections.abc import Callable
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
from measuring import one_thread
from restated import adakd, reverse_kl
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import Objective, next_token_labels
from adakd.training.allocator import keep_freed_memory
from adakd.training.profiling import Clock
from adakd.training.step_selection import select_over_step
from adakd.training.trainer import distillation_loss

SEQUENCES, LENGTH, VOCABULARY = 4, 128, 49_152
LAYERS, KEPT = 30, 10
RATE, LARGEST_GRADIENT = 5e-5, 1.0
ALLOCATOR = {"GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"}
Step = Callable[[], Tensor]


def model(layers: int) -> Any:
    """Return a model of SmolLM2-135M's shape with fewer layers, as random as a seed makes it."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        made.get_input_embeddings().weight.mul_(8)  # logits with a standard deviation of about 4
    return made


@cache
def teacher() -> Any:
    return model(LAYERS).eval().requires_grad_(False)


def student() -> Any:
    """Return a student in training mode that has some of the teacher's layers."""
    made, theirs = model(KEPT), teacher().model
    made.model.embed_tokens.load_state_dict(theirs.embed_tokens.state_dict())
    for ours, number in zip(made.model.layers, range(0, LAYERS, LAYERS // KEPT), strict=True):
        ours.load_state_dict(theirs.layers[number].state_dict())
    return made.train()


def batch() -> dict[str, Tensor]:
    """Return sequences without padding, all of whose tokens count."""
    ids = torch.randint(VOCABULARY, (SEQUENCES, LENGTH), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}


def in_bf16() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


class Ours:
    """Hidden states of the teacher at hand, as a cache gives them; fused loss, fused AdamW."""

    def __init__(self) -> None:
        self.batch, self.student = batch(), student()
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=RATE, fused=True)
        counted = next_token_labels(self.batch["labels"]) >= 0
        with torch.no_grad(), in_bf16():
            states = teacher().model(self.batch["input_ids"]).last_hidden_state[counted]
        head = LMHead(teacher().lm_head.weight.to(torch.bfloat16))
        self.remembered = HiddenStates(states.to(torch.bfloat16), head)

    def step(self, objective: Objective) -> Tensor:
        """Train for a step and return its loss."""
        clock = Clock()
        with in_bf16():
            loss = distillation_loss(
                self.student, lambda *_: self.remembered, objective, self.batch, clock
            ).loss
        update(loss, self.student, self.optimizer)
        return loss.detach()

    def split_step(self, objective: Objective) -> Tensor:
        """Train for a step whose sequences are a micro-batch each, and return its loss."""
        batches, total = [part(self.batch, row) for row in range(SEQUENCES)], torch.zeros(())
        states = self.remembered.states.unflatten(0, (SEQUENCES, -1))
        rows = {id(one["labels"]): row for row, one in enumerate(batches)}

        def teacher(batch: dict[str, Tensor], valid: Tensor) -> HiddenStates:
            return HiddenStates(states[rows[id(batch["labels"])]], self.remembered.head)

        selection = None
        with in_bf16():
            if objective.selects_by_step:
                selection = select_over_step(self.student, teacher, objective, batches, Clock())
        for batch in batches:
            compute, share, source = objective, 1 / SEQUENCES, teacher
            if selection is not None:
                compute = given = selection.take()
                share, source = given.share, given.teacher
            with in_bf16():
                loss = distillation_loss(self.student, source, compute, batch, Clock()).loss * share
            loss.backward()
            total += loss.detach()
        take_step(self.student, self.optimizer)
        return total


def part(batch: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    return {name: value[row : row + 1] for name, value in batch.items()}


class Official:
    """A live teacher, whole logits of both, AdaKD's loss restated, AdamW over lists of tensors."""

    def __init__(self) -> None:
        self.batch, self.student = batch(), student()
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=RATE, foreach=True)
        self.labels = next_token_labels(self.batch["labels"]).flatten()

    def step(self) -> Tensor:
        """Train for a step and return its loss."""
        with in_bf16():
            with torch.no_grad():
                theirs = self.logits(teacher())
            loss = adakd(reverse_kl, self.logits(self.student), theirs, self.labels)
        update(loss, self.student, self.optimizer)
        return loss.detach()

    def logits(self, model: Any) -> Tensor:
        logits: Tensor = model(self.batch["input_ids"], use_cache=False).logits
        return logits.flatten(0, 1)


def update(loss: Tensor, model: Any, optimizer: torch.optim.Optimizer) -> None:
    loss.backward()
    take_step(model, optimizer)


def take_step(model: Any, optimizer: torch.optim.Optimizer) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
    optimizer.step()
    optimizer.zero_grad()


def ours() -> Step:
    objective, side = Objective("reverse_kl", "adakd", total_steps=100), Ours()
    return lambda: side.step(objective)


def reference() -> Step:
    return Official().step


# --- processes of their own -------------------------------------------------------------------


def serve(connection: Connection, side: str) -> None:
    """Take a step whenever asked, and answer with its seconds of the processor."""
    if side == "ours":
        keep_freed_memory()
    step = {"ours": ours, "reference": reference}[side]()
    with one_thread():
        while connection.recv():
            start = time.process_time()
            step()
            connection.send(time.process_time() - start)


class Elsewhere:
    """A side in a process of its own, with the allocator that such a process has by default."""

    def __init__(self, side: str) -> None:
        given = {name: os.environ.pop(name) for name in [*os.environ] if name in ALLOCATOR}
        self.connection, theirs = get_context("spawn").Pipe()
        self.process = get_context("spawn").Process(target=serve, args=(theirs, side), daemon=True)
        self.process.start()
        theirs.close()  # so that a side that dies is an end of file here, not a silence
        os.environ.update(given)

    def step(self) -> float:
        """Return the seconds of a step there."""
        self.connection.send(True)
        return float(self.connection.recv())

    def stop(self) -> None:
        if self.process.is_alive():
            self.connection.send(False)
        self.process.join()
