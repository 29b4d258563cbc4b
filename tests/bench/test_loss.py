"""What a loss costs, forward and backward, plain and with AdaKD."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from adakd.training.objective import Objective

TOKENS, VOCABULARY = 256, 8192


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.benchmark(group="loss")
@pytest.mark.parametrize("adaptive", [None, "adakd"], ids=["plain", "adakd"])
@pytest.mark.parametrize(
    "divergence", ["forward_kl", "reverse_kl", "jensen_shannon", "adaptive_kl", "todi"]
)
def test_loss(benchmark: Any, divergence: str, adaptive: str | None) -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(TOKENS, VOCABULARY, generator=generator, requires_grad=True)
    teacher = torch.randn(TOKENS, VOCABULARY, generator=generator)
    labels = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    objective = Objective(divergence, adaptive, total_steps=100)

    def step() -> float:
        loss = objective(student, teacher, labels).loss
        torch.autograd.grad(loss, student)
        return float(loss.detach())

    assert benchmark(step) > 0
