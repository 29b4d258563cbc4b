"""Learned temperatures and transformed logits against a plain autograd implementation."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from adakd.adaptive import CTKD, AdaKD, Adaptive, TokenSelection
from adakd.data.example import IGNORED
from adakd.divergences import divergence
from adakd.losses import blocks
from adakd.losses.blocks import LogitScaling
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import Objective
from adakd.registry import Spec

VOCABULARY, TOKENS = 17, 9
ZSCORE = {"name": "zscore", "value": 2}
CURRICULUM = {"name": "ctkd", "low": 0.5, "span": 3, "start": 0.3}


def wrapped(temperature: dict[str, Any], ratio: float = 1.0) -> Spec:
    return Spec(name="adakd", focus={"name": "fixed", "ratio": ratio}, temperature=temperature)


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits of both models in float64, and labels, one of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    shape = TOKENS, VOCABULARY
    student, teacher = (
        2 * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    labels = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    labels[3] = IGNORED
    return student, teacher, labels


def standardised(logits: Tensor) -> Tensor:
    return (logits - logits.mean(-1, keepdim=True)) / (logits.std(-1, keepdim=True) + 1e-7)


def plain(name: str, student: Tensor, teacher: Tensor, tau: Any) -> Tensor:
    """The mean over tokens of the tempered divergence, times the square of the temperature."""
    values = divergence[name]((student / tau).log_softmax(-1), (teacher / tau).log_softmax(-1))
    return (tau**2 * values).mean()


def half_way(spec: Spec, name: str = "reverse_kl") -> Objective:
    """Return an objective after half of its steps, where CTKD's lambda is a half."""
    objective = Objective(name, spec, total_steps=4)
    for _ in range(2):
        objective.step(1.0)
    return objective


# --- logit standardisation ----------------------------------------------------------------------


@pytest.mark.parametrize("name", divergence)
def test_standardised_logits_are_those_of_the_definition(name: str) -> None:
    student, teacher, labels = batch()
    counted = labels != IGNORED
    student.requires_grad_()
    loss = Objective(name, wrapped(ZSCORE), total_steps=1)(student, teacher, labels).loss
    wanted = plain(name, standardised(student[counted]), standardised(teacher[counted]), 2.0)
    torch.testing.assert_close(loss, wanted)
    gradients = [torch.autograd.grad(of, student)[0] for of in (loss, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-8)


def test_by_hand() -> None:
    """Logits 1, 2, 3 and any 10 times as far apart are -1, 0, 1; mirrored ones 1, 0, -1."""
    student = torch.tensor([[3.0, 2.0, 1.0]])
    teacher = torch.tensor([[-7.0, 3.0, 13.0]])
    objective = Objective("forward_kl", wrapped({"name": "zscore"}), total_steps=1)
    result = objective(student, teacher, torch.tensor([0]))
    total = math.e + 1 + 1 / math.e
    assert float(result.loss) == pytest.approx(2 * (math.e - 1 / math.e) / total, rel=1e-5)
    assert result.temperature == 1


def test_mean_and_scale_of_logits_do_not_matter() -> None:
    student, teacher, labels = batch()
    objective = Objective("reverse_kl", wrapped({"name": "zscore"}), total_steps=1)
    loss = objective(student, teacher, labels).loss
    torch.testing.assert_close(objective(3 * student - 1, teacher / 5 + 2, labels).loss, loss)
    assert not torch.allclose(Objective("reverse_kl")(student, teacher, labels).loss, loss)


def test_a_uniform_student_has_a_gradient() -> None:
    student = torch.zeros(2, VOCABULARY, requires_grad=True)
    objective = Objective("reverse_kl", wrapped({"name": "zscore"}), total_steps=1)
    loss = objective(student, batch()[1][:2].float(), torch.tensor([0, 1])).loss
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.isfinite().all()


# --- a learned temperature ----------------------------------------------------------------------


def weight_of(objective: Objective) -> Tensor:
    (weight,) = objective.parameters()
    return weight


@pytest.mark.parametrize("name", divergence)
def test_a_learned_temperature_gets_the_reversed_gradient(name: str) -> None:
    """By autograd through the whole definition; the student's gradient is the usual one."""
    student, teacher, labels = batch()
    counted = labels != IGNORED
    student.requires_grad_()
    objective = half_way(wrapped(CURRICULUM), name)
    objective(student, teacher, labels).loss.backward()
    w = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    other = student.detach().clone().requires_grad_()
    loss = plain(name, other[counted], teacher[counted], 0.5 + 3 * w.sigmoid())
    loss.backward()
    assert w.grad is not None
    got = weight_of(objective).grad
    assert got is not None
    torch.testing.assert_close(got.double(), -0.5 * w.grad, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(student.grad, other.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "jensen_shannon", "alpha_beta"])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_the_reversed_gradient_by_finite_differences(name: str, ratio: float) -> None:
    student, teacher, labels = batch()
    objective = half_way(wrapped(CURRICULUM, ratio), name)
    weight = weight_of(objective)
    weight.data = weight.data.double()

    def loss(of: float) -> float:
        weight.data.fill_(of)
        return float(objective(student, teacher, labels).loss.detach())

    slope = (loss(0.3 + 1e-6) - loss(0.3 - 1e-6)) / 2e-6
    weight.data.fill_(0.3)
    objective(student.requires_grad_(), teacher, labels).loss.backward()
    assert weight.grad is not None
    assert float(weight.grad) == pytest.approx(-0.5 * slope, rel=1e-6)
    assert abs(slope) > 1e-3


def test_lambda_rises_along_half_a_cosine() -> None:
    part = CTKD(rise=0.5, strength=2)
    part.begin(8)
    forces = []
    for _ in range(8):
        forces.append(part.force)
        part.update(1.0)
    half = math.sqrt(0.5)
    assert forces == pytest.approx([0, 1 - half, 1, 1 + half, 2, 2, 2, 2])


def test_the_first_temperature_and_its_bounds() -> None:
    scores = torch.zeros(3)
    assert CTKD()(scores).tolist() == [1, 1, 1]
    own = CTKD(low=1, span=20, start=1)(scores)
    assert own.tolist() == pytest.approx([1 + 20 / (1 + math.exp(-1))] * 3)
    assert float(CTKD(start=50)(scores)[0].detach()) <= 2


def test_a_learned_temperature_climbs_the_loss() -> None:
    student, teacher, labels = batch()
    objective = half_way(wrapped(CURRICULUM))
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.5)
    losses = []
    for _ in range(20):
        loss = objective(student, teacher, labels).loss
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses == sorted(losses)
    assert losses[-1] > 1.01 * losses[0]


class PerToken(Adaptive):
    """A learned temperature for each token, weights, and standardised logits at once."""

    def __init__(self, tau: Tensor) -> None:
        self.tau = tau

    def score(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        return labels.to(student)

    def select(self, scores: Tensor) -> TokenSelection:
        positions = torch.arange(1, len(scores))
        return TokenSelection(
            scores, positions, self.tau[positions], scores[positions] + 1, standardised
        )


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_any_block_any_group_and_a_temperature_a_token(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an LM head with a soft cap, a few tokens at a time."""
    monkeypatch.setattr(blocks, "CACHED_BYTES", rows * 8 * VOCABULARY)
    generator = torch.Generator().manual_seed(1)
    states, head, theirs = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((TOKENS, 4), (VOCABULARY, 4), (TOKENS, VOCABULARY))
    )
    labels, scaling = torch.arange(TOKENS), LogitScaling(softcap=3.0)
    results = []
    for fused in (True, False):
        given = [
            states.clone().requires_grad_(),
            head.clone().requires_grad_(),
            torch.linspace(0.5, 2, TOKENS, dtype=torch.float64).requires_grad_(),
        ]
        if fused:
            objective = Objective("todi", PerToken(given[2]), 1, budget=3 * rows * 8 * VOCABULARY)
            loss = objective(
                HiddenStates(given[0], LMHead(given[1], scaling=scaling)), theirs, labels
            ).loss
        else:
            logits = scaling((given[0] @ given[1].T).clone())
            tau = given[2][1:].unsqueeze(-1)
            values = divergence["todi"](
                *((standardised(z[1:]) / tau).log_softmax(-1) for z in (logits, theirs))
            )
            loss = ((labels[1:] + 1) * given[2][1:] ** 2 * values).mean()
        results.append([loss.detach(), *torch.autograd.grad(loss, given)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("temperature", [ZSCORE, CURRICULUM], ids=["zscore", "ctkd"])
@pytest.mark.parametrize("name", divergence)
def test_entries_that_both_models_rule_out_do_not_matter(
    name: str, temperature: dict[str, Any]
) -> None:
    student, teacher, labels = batch()
    cut, whole = (student[:, :-2].clone().requires_grad_(), student.clone())
    whole[:, -2:] = teacher[:, -2:] = -math.inf
    whole.requires_grad_()
    ends = []
    for ours, theirs in ((cut, teacher[:, :-2]), (whole, teacher)):
        objective = half_way(wrapped(temperature), name)
        loss = objective(ours, theirs, labels).loss
        loss.backward()
        ends.append([loss.detach(), *(of.grad for of in objective.parameters())])
    torch.testing.assert_close(*ends)
    assert cut.grad is not None
    assert whole.grad is not None
    torch.testing.assert_close(cut.grad, whole.grad[:, :-2])
    assert not whole.grad[:, -2:].any()


@pytest.mark.parametrize("temperature", [ZSCORE, CURRICULUM], ids=["zscore", "ctkd"])
def test_without_gradient_none_is_made(temperature: dict[str, Any]) -> None:
    student, teacher, labels = batch()
    objective = half_way(wrapped(temperature))
    with torch.no_grad():
        loss = objective(student, teacher, labels).loss
    torch.testing.assert_close(loss, objective(student.requires_grad_(), teacher, labels).loss)
    assert not loss.requires_grad


def test_float16_keeps_the_temperatures_gradient() -> None:
    """That of 16-bit logits waits for the scaler's factor; the temperature's is the usual one."""
    student, teacher, labels = batch()
    grads = []
    for dtype in (torch.float16, torch.float32):
        objective = half_way(wrapped(CURRICULUM))
        given = student.half().to(dtype).requires_grad_()
        (1000 * objective(given, teacher.half().to(dtype), labels).loss).backward()
        grads.append(weight_of(objective).grad)
    torch.testing.assert_close(*grads, rtol=1e-5, atol=0)


def test_the_state_of_a_learned_temperature_goes_round() -> None:
    first, second = (half_way(wrapped(CURRICULUM)) for _ in range(2))
    weight_of(first).data.fill_(0.7)
    first.step(1.0)
    second.load_state_dict(first.state_dict())
    assert isinstance(second.adaptive, AdaKD)
    assert isinstance(second.adaptive.temperature, CTKD)
    assert float(weight_of(second).detach()) == pytest.approx(0.7)
    assert second.adaptive.temperature.force == pytest.approx((1 + math.sqrt(0.5)) / 2)
