"""The cost of a loss, forward and backward, against the reference implementation restated plainly.

Both sides take turns in one process, on one thread, with the same allocator settings; what counts
is the ratio of their medians, in time of the processor. Still other load matters: whoever shares
the caches slows the side that works in them, which is ours.
"""

import math
import time
from typing import Any

import pytest
import torch
from measuring import FASTER, MEMORY, TIME, compare, note, peak, row
from restated import LEAN, REFERENCES, adakd, lean_adakd, lean_plain, mixed_kl, plain, reverse_kl
from torch import Tensor
from torch.nn import functional as F

from adakd.divergences import divergence
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import Objective

TOKENS, VOCABULARY, WIDTH = 512, 49_152, 576
NV4 = TOKENS * VOCABULARY * 4
"""Bytes of one float32 tensor of [tokens, vocabulary]."""
RESTATED = "the reference implementation"
LEANER = "the lean restatement"
"""Log-softmax of both sides and one expression: the reference without its masks and copies."""


def logits(spread: float) -> Tensor:
    return spread * torch.randn(TOKENS, VOCABULARY)


def goal(name: str, adaptive: str | None) -> float:
    """Return how many times faster a loss is to be."""
    if name == "plug_in":
        return 2.0
    return 5.0 if name == "adaptive_kl" or (name, adaptive) == ("reverse_kl", "adakd") else 3.0


@pytest.mark.benchmark(group="Loss on given logits", timer=time.process_time)
@pytest.mark.parametrize("adaptive", [None, "adakd"], ids=["plain", "adakd"])
@pytest.mark.parametrize("name", [*divergence, "plug_in"])
def test_loss(benchmark: Any, name: str, adaptive: str | None) -> None:
    torch.manual_seed(0)
    # As peaked as real text: 95 % of the mass on 512 entries, Hellinger distances around 0.3.
    teacher = logits(4.0)
    student = (0.9 * teacher + logits(1.0)).requires_grad_()
    labels = torch.randint(VOCABULARY, (TOKENS,))
    objective = Objective(mixed_kl if name == "plug_in" else name, adaptive, total_steps=100)
    restated = adakd if adaptive else plain

    def ours() -> Tensor:
        loss = objective(student, teacher, labels).loss
        torch.autograd.grad(loss, student)
        return loss.detach()

    def reference() -> Tensor:
        loss = restated(REFERENCES[name], student, teacher, labels)
        torch.autograd.grad(loss, student)
        return loss.detach()

    def lean() -> Tensor:
        loss = (lean_adakd if adaptive else lean_plain)(LEAN[name], student, teacher)
        torch.autograd.grad(loss, student)
        return loss.detach()

    @torch.no_grad()
    def exponentials() -> None:
        """Take those that no way can avoid, a block in the cache at a time, and write a gradient.

        Two for each entry: of both models; AdaKD has them at temperature 1 and at each token's own.
        """
        gradient, block = torch.empty_like(student), torch.empty(4, VOCABULARY)
        for at in range(0, TOKENS, len(block)):
            for side in (student, teacher) * (2 if adaptive else 1):
                torch.exp(side[at : at + len(block)], out=block)
            torch.mul(block, 0.5, out=gradient[at : at + len(block)])

    for other in (reference, lean):
        torch.testing.assert_close(ours(), other(), rtol=1e-3, atol=1e-6)
    found = compare(benchmark, ours, reference, lean, exponentials)
    leaner, least = found.others
    peaks = [peak(side) / NV4 for side in (ours, reference, lean)]
    what = f"{name}{' + AdaKD' if adaptive else ''}, {TOKENS} × {VOCABULARY:,} logits"
    others = f"{RESTATED}: {peaks[1]:.1f}, {LEANER}: {peaks[2]:.1f}"
    note(
        benchmark,
        row(what, RESTATED, FASTER, found.times_faster, at_least=goal(name, adaptive)),
        row(what, LEANER, FASTER, leaner / found.ours, at_least=2.0),
        row(what, "its exponentials alone", TIME, found.ours / least),
        row(what, f"one float32 tensor of logits ({others})", MEMORY, peaks[0], at_most=1.1),
        ours=found.ours,
        reference=found.reference,
        lean=leaner,
    )


@pytest.mark.benchmark(group="Loss from hidden states", timer=time.process_time)
@pytest.mark.parametrize("adaptive", [None, "adakd"], ids=["plain", "adakd"])
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32], ids=str)
def test_head(benchmark: Any, precision: torch.dtype, adaptive: str | None) -> None:
    """Against whole logits; the teacher's weights are frozen in the precision of the products."""
    torch.manual_seed(0)
    weight = torch.randn(VOCABULARY, WIDTH, requires_grad=True)
    states = (4 / math.sqrt(WIDTH) * torch.randn(TOKENS, WIDTH)).requires_grad_()
    labels = torch.randint(VOCABULARY, (TOKENS,))
    with torch.no_grad():
        their_weight = (weight + 0.3 * torch.randn_like(weight)).to(precision)
        their_states = states.detach().to(precision)
    objective = Objective("reverse_kl", adaptive, total_steps=100)
    restated = adakd if adaptive else plain
    student = HiddenStates(states, LMHead(weight), precision)
    teacher = HiddenStates(their_states, LMHead(their_weight))

    def ours() -> Tensor:
        loss = objective(student, teacher, labels).loss
        torch.autograd.grad(loss, (states, weight))
        return loss.detach()

    def reference() -> Tensor:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            logits = [F.linear(states, weight), F.linear(their_states, their_weight)]
        loss = restated(reverse_kl, *logits, labels)
        torch.autograd.grad(loss, (states, weight))
        return loss.detach()

    @torch.no_grad()
    def products() -> None:
        """Multiply as often as any way has to: both logits, the gradients of states and weight."""
        F.linear(their_states, their_weight)
        by_logits = F.linear(their_states, their_weight)
        by_logits @ their_weight
        by_logits.T @ their_states

    torch.testing.assert_close(ours(), reference(), rtol=1e-2, atol=1e-6)
    found = compare(benchmark, ours, reference, products)
    peaks = [peak(ours), peak(reference)]
    arm = f"reverse_kl{' + AdaKD' if adaptive else ''}"
    kind = str(precision).removeprefix("torch.")
    what = f"{arm}, {TOKENS} states of {WIDTH} × head of {VOCABULARY:,}, {kind}"
    goals = (3.3, 0.30) if adaptive else (None, None)
    note(
        benchmark,
        row(what, f"{RESTATED}, whole logits", FASTER, found.times_faster, at_least=goals[0]),
        row(what, f"{RESTATED}, whole logits", MEMORY, peaks[0] / peaks[1], at_most=goals[1]),
        row(what, "its four matrix products alone", TIME, found.ours / found.others[0]),
        ours=found.ours,
        reference=found.reference,
    )
