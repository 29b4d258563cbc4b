"""Losses, trainings and runs on the device itself, in every precision.

On a GPU by default. ``ADAKD_TEST_DEVICE=cpu`` runs the same tests without one, but for the Triton
kernels, which ``tests/losses/test_triton_kernels.py`` runs in Triton's interpreter.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from adakd.data.example import IGNORED
from adakd.divergences import divergence
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import Objective
from adakd.registry import Spec
from adakd.store import Store
from adakd.store.records import ScoreRecord, TrainingRecord

GPU = torch.cuda.is_available()
DEVICE = os.environ.get("ADAKD_TEST_DEVICE", "cuda" if GPU else "")
KERNELS = ("torch", "triton") if DEVICE == "cuda" else ("torch",)
TOKENS, WIDTH, VOCABULARY = 48, 32, 1200
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
ROUNDING = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Relative error of a gradient as a whole: two units in the last place of its precision."""
ARMS = {
    "plain": None,
    "adakd": Spec(name="adakd", focus={"name": "fixed", "ratio": 0.5}),
}
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
VECTORS = np.load(Path(__file__).parents[1] / "golden" / "vectors.npz")
GOLDEN = {
    "forward_kl": Spec(name="forward_kl"),
    "reverse_kl": Spec(name="reverse_kl"),
    "js_lam0.9": Spec(name="jensen_shannon", lam=0.9),
    "js_lam0.5": Spec(name="jensen_shannon", lam=0.5),
    "total_variation": Spec(name="total_variation"),
    "skewed_forward_kl_lam0.1": Spec(name="skew_forward_kl", lam=0.1),
    "skewed_reverse_kl_lam0.1": Spec(name="skew_reverse_kl", lam=0.1),
    "adaptive_kl_mu0.5": Spec(name="adaptive_kl"),
    "alpha_beta_0.2_0.7": Spec(name="alpha_beta", alpha=0.2, beta=0.7),
    "todi": Spec(name="todi"),
}

pytestmark = [
    pytest.mark.skipif(not DEVICE, reason="there is no GPU, and ADAKD_TEST_DEVICE is not set"),
    # where Triton has no kernel for a part, torch computes it; the log says so, not these tests
    pytest.mark.filterwarnings("default"),
]


def agree(got: Tensor, wanted: Tensor, error: float) -> None:
    """Compare tensors as a whole: the norm of the difference with that of what is wanted."""
    got, wanted = got.double().cpu(), wanted.double().cpu()
    assert float((got - wanted).norm()) <= error * float(wanted.norm()) + 1e-12


# --- golden values ----------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values_and_gradients(name: str, case: int, kernels: Any) -> None:
    """The mean over the tokens of the official values, and its gradient."""

    words = VECTORS[f"case{case}.student_logits"].shape[-1]

    def golden(key: str) -> Tensor:
        found = torch.from_numpy(VECTORS[f"case{case}.{key}"])
        return found.flatten() if key.endswith("value") else found.reshape(-1, words)

    student = golden("student_logits").to(DEVICE).requires_grad_()
    labels = torch.zeros(len(student), dtype=torch.long, device=DEVICE)
    objective = Objective(GOLDEN[name], kernels=kernels)
    result = objective(student, golden("teacher_logits").to(DEVICE), labels)
    result.loss.backward()
    torch.testing.assert_close(result.loss.detach().cpu(), golden(f"{name}.value").mean(), **CLOSE)
    assert student.grad is not None
    gradient = golden(f"{name}.grad") / len(student)
    torch.testing.assert_close(student.grad.cpu(), gradient, **CLOSE)


# --- precisions and sources -------------------------------------------------------------------


def random(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def models(dtype: torch.dtype) -> tuple[HiddenStates, HiddenStates, Tensor]:
    """A student that is close to its teacher at every other token, so that rounding selects none.

    A label in ten is ignored.
    """
    states = random(TOKENS, WIDTH, seed=1)
    distance = torch.where(torch.arange(TOKENS) % 2 == 0, 0.02, 1.0)[:, None]
    theirs = states + distance * random(TOKENS, WIDTH, seed=2)
    head = random(VOCABULARY, WIDTH, seed=3, scale=0.5)
    labels = torch.arange(TOKENS) % VOCABULARY
    labels[5::10] = IGNORED
    ours, teacher = (
        HiddenStates(given.to(DEVICE, dtype), LMHead(head.to(DEVICE, dtype)))
        for given in (states, theirs)
    )
    return ours, teacher, labels.to(DEVICE)


def logits(hidden: HiddenStates) -> Tensor:
    return F.linear(hidden.states, hidden.head.weight)


def by_float64(
    name: str, arm: str, student: Tensor, teacher: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss of given logits and its gradient, on the CPU in float64."""
    given = student.detach().double().cpu().requires_grad_()
    result = Objective(name, ARMS[arm], total_steps=10)(
        given, teacher.detach().double().cpu(), labels.cpu()
    )
    result.loss.backward()
    assert given.grad is not None
    return result.loss.detach(), given.grad


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("name", sorted(divergence))
def test_given_logits(name: str, arm: str, precision: str, kernels: Any) -> None:
    dtype = PRECISIONS[precision]
    ours, theirs, labels = models(dtype)
    student, teacher = logits(ours).detach().requires_grad_(), logits(theirs)
    objective = Objective(name, ARMS[arm], total_steps=10, kernels=kernels)
    loss = objective(student, teacher, labels).loss
    loss.backward()
    wanted, gradient = by_float64(name, arm, student, teacher, labels)
    # Adaptive KL cuts the sorted probabilities; among equal ones, many in 16 bits, any may be cut.
    tied = name == "adaptive_kl" and precision != "float32"
    agree(loss.detach(), wanted, 1e-3 if tied else 1e-5)
    assert student.grad is not None
    assert student.grad.dtype == dtype
    agree(student.grad, gradient, ROUNDING[dtype])


@pytest.mark.parametrize("cached", [False, True], ids=["live", "cached"])
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("name", sorted(divergence))
def test_hidden_states(name: str, arm: str, precision: str, kernels: Any, cached: bool) -> None:
    """From states and heads, in several groups; a cached teacher's states come from the host."""
    dtype = PRECISIONS[precision]
    ours, theirs, labels = models(dtype)
    states, weight = ours.states.requires_grad_(), ours.head.weight.requires_grad_()
    if cached:
        stored = theirs.states.to(torch.float16).cpu()
        theirs = HiddenStates(stored.to(DEVICE, non_blocking=True), theirs.head)
    budget = 20 * 2 * VOCABULARY * dtype.itemsize
    objective = Objective(name, ARMS[arm], total_steps=10, budget=budget, kernels=kernels)
    loss = objective(ours, theirs, labels).loss
    loss.backward()
    teacher = F.linear(theirs.states.to(dtype), theirs.head.weight)
    wanted, gradient = by_float64(name, arm, logits(ours), teacher, labels)
    error = ROUNDING[dtype] * 4  # the products with the head are rounded too
    agree(loss.detach(), wanted, error)
    for part, exact in (
        (states, gradient @ weight.detach().double().cpu()),
        (weight, gradient.T @ states.detach().double().cpu()),
    ):
        assert part.grad is not None
        assert part.grad.dtype == dtype
        agree(part.grad, exact, error)


# --- memory -----------------------------------------------------------------------------------


def extra_bytes(step: Callable[[], Any]) -> int:
    """Return the peak of what a step allocates beyond what is there, the second time."""
    step()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


MEMORY = pytest.mark.skipif(not GPU, reason="only CUDA counts what is allocated")
BLOCKS = 12 * 64 * 2**20
"""Bytes of a dozen blocks of rows in float32, each of 64 MiB: the working memory of any loss."""


@MEMORY
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("arm", ARMS)
def test_from_hidden_states_no_tensor_of_all_logits_is_made(arm: str, kernels: Any) -> None:
    tokens, words, width, budget = 8192, 49_152, 64, 256 * 2**20
    whole = tokens * words * 2  # in bfloat16
    torch.manual_seed(0)
    ours, theirs = (torch.randn(tokens, width, device=DEVICE, dtype=torch.bfloat16) for _ in "12")
    head = torch.randn(words, width, device=DEVICE, dtype=torch.bfloat16)
    states, weight = ours.requires_grad_(), head.requires_grad_()
    labels = torch.zeros(tokens, dtype=torch.long, device=DEVICE)
    objective = Objective("reverse_kl", ARMS[arm], 10, budget, kernels=kernels)

    def step() -> None:
        student, teacher = LMHead(weight), LMHead(head.detach())
        loss = objective(HiddenStates(states, student), HiddenStates(theirs, teacher), labels).loss
        torch.autograd.grad(loss, (states, weight))

    gradients = (ours.numel() + 3 * head.numel()) * 4
    assert budget + BLOCKS + gradients < 2 * whole  # or the next line would say nothing
    assert extra_bytes(step) <= budget + BLOCKS + gradients


@MEMORY
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("arm", ARMS)
def test_from_logits_only_the_gradient_has_their_size(arm: str, kernels: Any) -> None:
    tokens, words = 8192, 152_064
    student = torch.randn(tokens, words, device=DEVICE, dtype=torch.bfloat16)
    teacher = torch.randn_like(student)
    whole = student.numel() * student.itemsize
    student.requires_grad_()
    labels = torch.zeros(tokens, dtype=torch.long, device=DEVICE)
    objective = Objective("reverse_kl", ARMS[arm], 10, kernels=kernels)

    def step() -> None:
        torch.autograd.grad(objective(student, teacher, labels).loss, student)

    assert extra_bytes(step) <= whole + BLOCKS


# --- trainings and runs -----------------------------------------------------------------------


class Killed(Exception):
    pass


@pytest.mark.parametrize("arm", ["plain", "adakd"])
@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_training_and_its_continuation(
    make_suite: Any, trainings: Any, precision: str, name: str, arm: str
) -> None:
    """A training that is killed after a checkpoint ends where an unbroken one does."""
    suite = make_suite(
        {
            "divergences": [name],
            "training.precision": precision,
            "training.steps": 4,
            "training.save_every": 2,
            "training.gradient_accumulation": 2,
        }
    )
    straight, broken = trainings(suite, "straight"), trainings(suite, "broken")
    cell = straight.find(arm=arm)
    whole = straight.train(cell)
    assert whole.status == "done", whole.reason
    before = straight.weights(straight.find("untrained"))
    after = straight.weights(cell)
    assert any(not torch.equal(before[key], after[key]) for key in after)

    def kill(done: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        broken.train(cell, kill)
    resumed = trainings(suite, "broken")
    again = resumed.train(cell)
    assert [step.step for step in again.steps] == [1, 2, 3, 4]
    # Sums of a GPU's atomic additions differ in their last bits.
    for key, weight in resumed.weights(cell).items():
        torch.testing.assert_close(weight, after[key], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("suite", ["smoke"])
def test_a_whole_run_of_a_shipped_suite(command_line: Any, tmp_path: Path, suite: str) -> None:
    changes = (
        "teacher.sft.steps=6 training.steps=4 data.train.rows=200 seeds=[1] timing.pairs=2 "
        "evaluation.sets.puzzles.rows=12 evaluation.choices.0.limit=6"
    )
    options = [part for change in changes.split() for part in ("--set", change)]
    done = command_line("run", suite, "--out", tmp_path / "run", *options)
    assert done.code == 0, done.err
    store = Store(tmp_path / "run")
    assert {record.status for record in store.of(TrainingRecord)} == {"done"}
    assert {score.n for score in store.of(ScoreRecord)} == {12, 6}
    assert (tmp_path / "run" / "report.html").exists()
