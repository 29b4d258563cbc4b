"""The engine against a plain autograd implementation of the loss, on every path."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from adakd.adaptive import TokenSelection
from adakd.data.example import IGNORED
from adakd.divergences import divergence
from adakd.errors import AdakdError
from adakd.losses import blocks
from adakd.losses.blocks import LogitScaling
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import Objective, SupervisedObjective
from adakd.registry import Spec

VOCABULARY, WIDTH, TOKENS = 29, 6, 23
HALF = Spec(name="adakd", focus={"name": "fixed", "ratio": 0.5})
ROW_BYTES = 2 * 4 * VOCABULARY


def slow(name: str, adaptive: Any, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """The definition in one piece, differentiated by autograd."""
    counted = labels != IGNORED
    z_q, z_p = student[counted], teacher[counted][:, : student.shape[-1]]
    tau = torch.ones(len(z_q), 1)
    if adaptive is not None:
        p, q = z_p.softmax(-1), z_q.detach().softmax(-1)
        score = (p.sqrt() - q.sqrt()).square().sum(-1).sqrt() / math.sqrt(2)
        keep = score.topk(max(1, math.floor(len(score) * 0.5))).indices.sort().values
        tau = (-0.5 * (score[keep] / score[keep].median()).log().tanh()).exp().unsqueeze(-1)
        z_q, z_p = z_q[keep], z_p[keep]
    values = divergence[name]((z_q / tau).log_softmax(-1), (z_p / tau).log_softmax(-1))
    return (values * tau.squeeze(-1).square()).mean()


class Case:
    """Hidden states and LM heads of two models, and the corresponding logits."""

    def __init__(self, scaling: LogitScaling = blocks.UNSCALED, bias: bool = True) -> None:
        generator = torch.Generator().manual_seed(0)

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        self.labels = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
        self.labels[::4] = IGNORED
        self.states, self.weight = random(TOKENS, WIDTH), random(VOCABULARY, WIDTH)
        self.bias = random(VOCABULARY) if bias else None
        self.scaling = scaling
        wider = random(VOCABULARY + 5, 2 * WIDTH)
        self.teacher = HiddenStates(
            random(TOKENS, 2 * WIDTH), LMHead(wider, random(VOCABULARY + 5), scaling)
        )
        self.teacher_logits = self.teacher.head.logits(self.teacher.states)

    def parts(self) -> list[Tensor]:
        """The leaf tensors to differentiate with respect to."""
        given = [self.states, self.weight, *([] if self.bias is None else [self.bias])]
        return [part.clone().requires_grad_() for part in given]

    def hidden(self, parts: list[Tensor]) -> HiddenStates:
        return HiddenStates(parts[0], LMHead(*parts[1:], scaling=self.scaling))

    def expected(self, name: str, adaptive: Any) -> list[Tensor]:
        """The loss and all gradients of the reference path."""
        parts = self.parts()
        hidden = self.hidden(parts)
        logits = hidden.head.logits(hidden.states)
        loss = slow(name, adaptive, logits, self.teacher_logits, self.labels)
        return [loss.detach(), *torch.autograd.grad(loss, parts)]


def close(got: Any, wanted: Any, **tolerance: float) -> None:
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, **(tolerance or {"rtol": 1e-4, "atol": 1e-6}))


# --- heads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 4, 100], ids="groups of {}".format)
@pytest.mark.parametrize("adaptive", [None, HALF], ids=["plain", "half"])
@pytest.mark.parametrize("name", divergence)
def test_a_head_gets_the_gradient_of_the_definition(name: str, adaptive: Any, rows: int) -> None:
    """Budgets for all logits at once and for a group at a time."""
    case = Case()
    parts = case.parts()
    objective = Objective(name, adaptive, total_steps=1, budget=rows * ROW_BYTES)
    loss = objective(case.hidden(parts), case.teacher, case.labels).loss
    loss.backward()
    close([loss.detach(), *(part.grad for part in parts)], case.expected(name, adaptive))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "scaling",
    [LogitScaling(scale=0.3), LogitScaling(softcap=2.0), LogitScaling(scale=2.0, softcap=3.0)],
    ids=str,
)
def test_what_a_model_does_after_its_head_is_part_of_the_gradient(
    scaling: LogitScaling, bias: bool
) -> None:
    case = Case(scaling, bias)
    parts = case.parts()
    loss = Objective("reverse_kl", HALF, total_steps=1)(
        case.hidden(parts), case.teacher, case.labels
    ).loss
    loss.backward()
    close([loss.detach(), *(part.grad for part in parts)], case.expected("reverse_kl", HALF))


def test_logits_on_one_side_and_a_head_on_the_other() -> None:
    case = Case()
    wanted = case.expected("jensen_shannon", HALF)
    objective = Objective("jensen_shannon", HALF, total_steps=1)
    parts = case.parts()
    loss = objective(case.hidden(parts), case.teacher_logits, case.labels).loss
    close([loss.detach(), *torch.autograd.grad(loss, parts)], wanted)
    parts = case.parts()
    logits = case.hidden(parts).head.logits(parts[0])
    loss = objective(logits, case.teacher, case.labels).loss
    close([loss.detach(), *torch.autograd.grad(loss, parts)], wanted)


def test_a_frozen_head_gets_no_gradient() -> None:
    case = Case()
    states, weight, bias = case.parts()
    hidden = HiddenStates(states, LMHead(weight.detach(), bias.detach()))
    loss = Objective("forward_kl")(hidden, case.teacher, case.labels).loss
    (gradient,) = torch.autograd.grad(loss, states)
    torch.testing.assert_close(gradient, case.expected("forward_kl", None)[1])


def test_a_tied_head_gets_the_gradient_of_both_ends() -> None:
    weight = torch.randn(VOCABULARY, WIDTH)
    ids = torch.randint(VOCABULARY, (TOKENS,))
    case, gradients = Case(), []
    for fused in (True, False):
        tied = weight.clone().requires_grad_()
        hidden = HiddenStates(tied[ids], LMHead(tied))
        student = hidden if fused else hidden.head.logits(hidden.states)
        Objective("reverse_kl")(student, case.teacher, case.labels).loss.backward()
        gradients.append(tied.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("adaptive", [None, "adakd"])
def test_a_head_without_valid_tokens_gets_zeros(adaptive: str | None) -> None:
    case = Case()
    parts = case.parts()
    nothing = torch.full_like(case.labels, IGNORED)
    result = Objective("reverse_kl", adaptive, total_steps=1)(
        case.hidden(parts), case.teacher, nothing
    )
    result.loss.backward()
    assert (float(result.loss.detach()), result.tokens) == (0, 0)
    assert not any(part.grad.any() for part in parts if part.grad is not None)
    assert all(part.grad is not None for part in parts)


def test_a_label_that_a_teachers_head_lacks_is_refused() -> None:
    case = Case()
    small = HiddenStates(case.states, LMHead(case.weight[:-1]))
    last = torch.full_like(case.labels, 28)
    with pytest.raises(AdakdError, match=r"vocabulary \(28\) lacks the label 28"):
        Objective("forward_kl")(case.hidden(case.parts()), small, last)


def test_a_students_head_is_cut_to_the_teachers() -> None:
    case = Case()
    small, labels = HiddenStates(case.states, LMHead(case.weight[:-1])), case.labels.clamp(max=27)
    wide, cut = case.hidden(case.parts()), case.hidden(case.parts())
    bias = None if cut.head.bias is None else cut.head.bias[:-1]
    cut = replace(cut, head=replace(cut.head, weight=cut.head.weight[:-1], bias=bias))
    value, its_value = (Objective("forward_kl")(one, small, labels).loss for one in (wide, cut))
    assert torch.equal(value, its_value)


def test_supervised_by_a_head() -> None:
    case = Case()
    losses = []
    for fused in (True, False):
        parts = case.parts()
        hidden = case.hidden(parts)
        student = hidden if fused else hidden.head.logits(hidden.states)
        loss = SupervisedObjective()(student, None, case.labels).loss
        losses.append([loss.detach(), *torch.autograd.grad(loss, parts)])
    close(*losses)


# --- precision ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", divergence)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_products_in_half_precision(dtype: torch.dtype, name: str) -> None:
    """The models' weights stay in float32, as under autocast; so do their gradients."""
    case = Case()
    parts = case.parts()
    head = LMHead(parts[1], parts[2])
    student = HiddenStates(parts[0], head, precision=dtype)
    teacher = HiddenStates(case.teacher.states, case.teacher.head, precision=dtype)
    loss = Objective(name, budget=10 * ROW_BYTES)(student, teacher, case.labels).loss
    assert loss.dtype == torch.float32
    loss.backward()
    wanted = case.expected(name, None)
    torch.testing.assert_close(loss.detach(), wanted[0], rtol=0.02, atol=0)
    for part, gradient in zip(parts, wanted[1:], strict=True):
        assert part.grad is not None
        assert part.grad.dtype == torch.float32
        assert float((part.grad - gradient).norm() / gradient.norm()) < 0.03


@pytest.mark.parametrize("fused", [True, False])
def test_float16_keeps_small_gradients_for_the_scaler(fused: bool) -> None:
    """A gradient divided by the tokens of a long batch would be 0 before it is scaled up."""
    tokens, scale = 1024, 2.0**14
    torch.manual_seed(0)
    logits = (0.1 * torch.randn(tokens, 512)).half().requires_grad_()
    teacher = logits.detach() + 0.01 * torch.randn(tokens, 512).half()
    labels = torch.zeros(tokens, dtype=torch.long)
    student = HiddenStates(logits, LMHead(torch.eye(512).half())) if fused else logits
    (Objective("forward_kl")(student, teacher, labels).loss * scale).backward()
    exact = logits.detach().float().requires_grad_()
    (Objective("forward_kl")(exact, teacher, labels).loss * scale).backward()
    assert logits.grad is not None
    assert exact.grad is not None
    assert float((logits.grad.float() - exact.grad).norm() / exact.grad.norm()) < 0.02


def test_autocast_changes_nothing_inside() -> None:
    case = Case()
    parts = case.parts()
    with torch.autocast("cpu", torch.bfloat16):
        loss = Objective("todi")(case.hidden(parts), case.teacher, case.labels).loss
    loss.backward()
    close([loss.detach(), *(part.grad for part in parts)], case.expected("todi", None))


# --- blocks, backward, memory -------------------------------------------------------------------


@pytest.mark.parametrize("adaptive", [None, HALF], ids=["plain", "half"])
@pytest.mark.parametrize("name", [*divergence, "plug-in"])
def test_one_loss_for_any_size_of_a_block(
    name: str, adaptive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plug_in(student: Tensor, teacher: Tensor) -> Tensor:
        return (student.exp() * (student - teacher)).sum(-1)

    case, ends = Case(), []
    for rows in (1, 2, 7, 100):
        monkeypatch.setattr(blocks, "CACHED_BYTES", rows * 4 * VOCABULARY)
        logits = torch.nn.functional.linear(case.states, case.weight).requires_grad_()
        objective = Objective(plug_in if name == "plug-in" else name, adaptive, total_steps=1)
        loss = objective(logits, case.teacher_logits, case.labels).loss
        ends.append([loss.detach(), *torch.autograd.grad(loss, logits)])
    for end in ends[1:]:
        close(end, ends[0], rtol=1e-5, atol=1e-7)


def test_a_gradient_is_released_by_the_first_backward() -> None:
    case = Case()
    loss = Objective("reverse_kl")(case.hidden(case.parts()), case.teacher, case.labels).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute the loss again"):
        loss.backward()


def test_without_gradient_none_is_made() -> None:
    case = Case()
    objective = Objective("reverse_kl", HALF, total_steps=1)
    with torch.no_grad():
        loss = objective(case.hidden(case.parts()), case.teacher, case.labels).loss
    assert not loss.requires_grad
    torch.testing.assert_close(loss, case.expected("reverse_kl", HALF)[0])


def test_tokens_out_of_order_are_refused() -> None:
    from adakd.adaptive import AdaKD

    class Backwards(AdaKD):
        def select(self, scores: Tensor) -> TokenSelection:
            return TokenSelection(score=scores, positions=torch.arange(len(scores)).flip(0))

    case = Case()
    objective = Objective("reverse_kl", Backwards(), total_steps=1)
    with pytest.raises(AdakdError, match="ascending"):
        objective(case.teacher_logits, case.teacher_logits, case.labels)


def peak(step: Callable[[], Any]) -> int:
    """Return the peak of bytes allocated for tensors within a step."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize("adaptive", [None, "adakd"], ids=["plain", "adakd"])
@pytest.mark.parametrize("path", ["logits", "hidden", "plug-in"])
def test_memory_does_not_grow_with_the_tokens(
    path: str, adaptive: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the gradient itself, from 512 tokens to 4096."""
    vocabulary, width = 512, 4
    monkeypatch.setattr(blocks, "CACHED_BYTES", 8 * 4 * vocabulary)

    def plug_in(student: Tensor, teacher: Tensor) -> Tensor:
        return (student.exp() * (student - teacher)).sum(-1)

    def beyond(tokens: int) -> float:
        labels = torch.zeros(tokens, dtype=torch.long)
        objective = Objective(
            plug_in if path == "plug-in" else "reverse_kl",
            adaptive,
            total_steps=1,
            budget=2 * 4 * vocabulary * 128,
        )
        student = torch.randn(tokens, width if path == "hidden" else vocabulary, requires_grad=True)
        teacher = torch.randn_like(student)
        gradient = student.numel() * 4
        head = LMHead(torch.randn(vocabulary, width))
        pair = (student, teacher)
        if path == "hidden":
            pair = (HiddenStates(student, head), HiddenStates(teacher, head))
        # A few numbers per token (scores, temperatures, values) are allowed to grow.
        few = 150 * tokens
        return peak(lambda: objective(*pair, labels).loss.backward()) - gradient - few

    small, large = beyond(512), beyond(4096)
    assert large < 1.1 * small + 4 * vocabulary
    assert large < (8 * 14 + 2 * 128 + 8) * 4 * vocabulary


# --- trainings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("adaptive", [None, HALF], ids=["plain", "half"])
@pytest.mark.parametrize("fused", [True, False], ids=["hidden", "logits"])
def test_fifty_steps_end_where_the_reference_path_ends(fused: bool, adaptive: Any) -> None:
    """In float32, up to rounding, with micro-batches weighted by their tokens."""
    case = Case()

    def train(quick: bool) -> list[Tensor]:
        torch.manual_seed(1)
        table, head = torch.nn.Embedding(TOKENS, WIDTH), torch.nn.Linear(WIDTH, VOCABULARY)
        trained = [*table.parameters(), *head.parameters()]
        optimizer = torch.optim.SGD(trained, lr=0.5)
        objective = Objective("reverse_kl", adaptive, total_steps=50)
        for step in range(50):
            rows = torch.randperm(TOKENS)[: 12 + step % 5]
            states, labels = table(rows), case.labels[rows]
            teacher = case.teacher_logits[rows]
            if quick:
                student = (
                    HiddenStates(states, LMHead(head.weight, head.bias)) if fused else head(states)
                )
                loss = objective(student, teacher, labels).loss
            else:
                loss = slow("reverse_kl", adaptive, head(states), teacher, labels)
            optimizer.zero_grad()
            (loss * 0.7).backward()
            optimizer.step()
        return [weight.detach() for weight in trained]

    quick, slowly = train(True), train(False)
    close(quick, slowly, rtol=1e-3, atol=2e-5)
    assert float((quick[0] - torch.zeros(1)).abs().max()) > 0
