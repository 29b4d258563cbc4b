"""The cost of a loss on a GPU, forward and backward, at the size of a 7B model's batch.

Against the reference implementations (see ``test_loss.py``) and, for what it has, liger-kernel if
it is installed: from the same bfloat16 logits to a loss and their gradient.
"""

import time
from collections.abc import Callable
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from adakd.divergences import divergence
from adakd.losses import dispatch
from adakd.losses.objective import Objective

TOKENS, VOCABULARY = 4096, 152_000
ROUNDS = 10
Step = Callable[[], Tensor]

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.benchmark(group="loss on a GPU"),
]


def restatements() -> Any:
    """The restatements of the reference losses."""
    spec = spec_from_file_location("test_loss", Path(__file__).with_name("test_loss.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def example() -> tuple[Tensor, Tensor, Tensor]:
    """Logits as peaked as real text, and labels."""
    torch.manual_seed(0)
    teacher = 4 * torch.randn(TOKENS, VOCABULARY, dtype=torch.bfloat16, device="cuda")
    student = 0.9 * teacher + torch.randn_like(teacher)
    return student.requires_grad_(), teacher, torch.zeros(TOKENS, dtype=torch.long, device="cuda")


def peak(step: Step) -> int:
    """Return the peak of the bytes that a step allocates."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def synchronous(step: Step) -> Callable[[], None]:
    """Return a step that ends when the GPU has ended."""

    def run() -> None:
        step()
        torch.cuda.synchronize()

    return run


def compare(benchmark: Any, ours: Step, reference: Step) -> None:
    """Let the two take turns, and note how they compare."""
    theirs: list[float] = []
    other_side = synchronous(reference)

    def turn() -> None:
        torch.cuda.synchronize()
        start = time.perf_counter()
        other_side()
        theirs.append(time.perf_counter() - start)

    torch.testing.assert_close(ours(), reference(), rtol=1e-2, atol=1e-4)
    assert dispatch._agreed
    assert all(dispatch._agreed.values())
    peaks = [peak(step) for step in (ours, reference)]
    benchmark.pedantic(synchronous(ours), setup=turn, rounds=ROUNDS, warmup_rounds=2)
    benchmark.extra_info |= {
        "device": torch.cuda.get_device_name(),
        "reference_seconds": median(theirs[2:]),
        "times_faster": median(theirs[2:]) / benchmark.stats.stats.median,
        "peak_gib": peaks[0] / 2**30,
        "reference_peak_gib": peaks[1] / 2**30,
    }
    print(benchmark.extra_info)


def ours(name: str, adaptive: str | None, student: Tensor, *rest: Tensor) -> Step:
    objective = Objective(name, adaptive, total_steps=100, kernels="triton")

    def step() -> Tensor:
        loss = objective(student, *rest).loss
        torch.autograd.grad(loss, student)
        return loss.detach()

    return step


@pytest.mark.parametrize("adaptive", [None, "adakd"], ids=["plain", "adakd"])
@pytest.mark.parametrize("name", sorted(set(divergence) - {"adaptive_kl"}))
def test_against_the_reference_loss(benchmark: Any, name: str, adaptive: str | None) -> None:
    student, teacher, labels = example()
    restated = restatements()
    arm = restated.adakd if adaptive else restated.plain

    def reference() -> Tensor:
        loss = arm(restated.REFERENCES[name], student, teacher, labels)
        torch.autograd.grad(loss, student)
        return loss.detach()

    compare(benchmark, ours(name, adaptive, student, teacher, labels), reference)


@pytest.mark.skipif(find_spec("liger_kernel") is None, reason="liger-kernel is not installed")
@pytest.mark.parametrize("name", ["jensen_shannon", "forward_kl"])
def test_against_liger(benchmark: Any, name: str) -> None:
    """Which takes log-probabilities: those are made in float32, as the reference losses do."""
    from liger_kernel.transformers import LigerJSD, LigerKLDIVLoss

    student, teacher, labels = example()
    kl = LigerKLDIVLoss(reduction="batchmean", log_target=True)
    liger = LigerJSD(beta=0.5) if name == "jensen_shannon" else kl

    def reference() -> Tensor:
        sides = (F.log_softmax(side, dim=-1, dtype=torch.float32) for side in (student, teacher))
        loss = liger(*sides)
        torch.autograd.grad(loss, student)
        return loss.detach()

    compare(benchmark, ours(name, None, student, teacher, labels), reference)
