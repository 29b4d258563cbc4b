"""EGAD's three parts by hand, each alone and switched off, around every divergence."""

from math import cos, exp, log, pi, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from adakd.adaptive import EGAD, TokenSelection, adaptive
from adakd.data.example import IGNORED
from adakd.divergences import divergence, reverse_kl
from adakd.errors import AdakdError
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import Objective
from adakd.registry import Spec

OFF = {"curriculum": False, "temperature": False, "features": False}
# tanh(log 2) = 3/5: how far a token of twice the median entropy is from it, and one of half of it.
PLACE = 0.6


def method(steps: int = 0, **settings: Any) -> EGAD:
    """Return EGAD with all parts off except those set, after some of 4 steps."""
    built: EGAD = adaptive.build(Spec(name="egad", **{**OFF, **settings}))
    built.begin(4)
    for _ in range(steps):
        built.update(1.0)
    return built


def selection_of(entropies: list[float], **settings: Any) -> TokenSelection:
    return method(**settings).select(torch.tensor(entropies, dtype=torch.float32))


def close(got: Tensor | None, wanted: list[float]) -> None:
    assert got is not None
    assert got.tolist() == pytest.approx(wanted, rel=1e-5)


class Models:
    """Hidden states of both models over 5 entries; one of the 9 tokens is ignored."""

    def __init__(self, seed: int = 0, widths: tuple[int, int] = (3, 4)) -> None:
        generator = torch.Generator().manual_seed(seed)
        shapes = ((9, widths[0]), (5, widths[0]), (9, widths[1]), (5, widths[1]))
        parts = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
        self.states, self.weight = parts[0].requires_grad_(), parts[1].requires_grad_()
        self.student, self.teacher = (
            HiddenStates(states, LMHead(weight))
            for states, weight in (parts[:2], (3 * parts[2], parts[3]))
        )
        self.labels = torch.arange(9) % 5
        self.labels[2] = IGNORED
        self.counted = self.labels != IGNORED
        self.widths = widths

    def logits(self) -> tuple[Tensor, Tensor]:
        return tuple(side.head.logits(side.states) for side in (self.student, self.teacher))

    def entropies(self) -> Tensor:
        p = self.logits()[1][self.counted].softmax(-1)
        return -(p * p.log()).sum(-1)


# --- the parts ----------------------------------------------------------------------------------


def test_the_score_is_the_teachers_entropy() -> None:
    sure, torn = [0.0, -1e9, -1e9], [log(0.5), log(0.25), log(0.25)]
    student, labels = torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)
    close(method().score(student, torch.tensor([sure, torn]), labels), [0, 1.5 * log(2)])


@pytest.mark.parametrize(("steps", "lean"), [(0, -1), (1, -0.5), (2, 0), (4, 1), (9, 1)])
def test_the_curriculum_goes_from_low_to_high_entropy(steps: int, lean: float) -> None:
    raw = [exp(-lean * 2 * PLACE), 1, exp(lean * 2 * PLACE)]
    selection = selection_of([1, 2, 4], curriculum=True, strength=2, steps=steps)
    close(selection.weight, [3 * of / sum(raw) for of in raw])
    assert (selection.temperature, selection.match, selection.positions.tolist()) == (
        None,
        None,
        [0, 1, 2],
    )


@pytest.mark.parametrize("c", [0.5, -1.0, 0.0])
def test_the_temperature_is_monotone_in_the_entropy(c: float) -> None:
    selection = selection_of([4, 1, 2], temperature=True, c=c, base=2)
    close(selection.temperature, [2 * exp(PLACE * c), 2 * exp(-PLACE * c), 2])
    assert (selection.weight, selection.match) == (None, None)


def test_only_tokens_above_the_quantile_match_their_states() -> None:
    part = method(features=True, quantile=0.5, feature_weight=3)
    part.connect(2, 3)
    selection = part.select(torch.tensor([1.0, 5.0, 2.0, 4.0]))  # the median is 3
    assert selection.match
    student = torch.tensor([[9.0, 9.0], [1.0, 0.0], [9.0, 9.0], [1.0, 1.0]])
    teacher = torch.tensor([[0.0, 1, 1], [cos(pi / 3), sqrt(0.75), 0], [1, 1, 1], [2, 2, 1]])
    # Before it has learned anything the projection adds a zero to the student's two numbers.
    close(selection.match(student, teacher), [0, 1.5, 0, 3 * (1 - 4 / (sqrt(2) * 3))])


@pytest.mark.parametrize("entropies", [[1.0], [2.0, 2.0, 2.0], [0.0, 0.0]])
def test_tokens_of_one_entropy_are_all_alike(entropies: list[float]) -> None:
    part = method(curriculum=True, temperature=True, features=True)
    part.connect(2, 2)
    selection = part.select(torch.tensor(entropies, dtype=torch.float32))
    close(selection.weight, [1] * len(entropies))
    close(selection.temperature, [1] * len(entropies))
    assert selection.match
    assert not selection.match(torch.ones(len(entropies), 2), torch.ones(len(entropies), 2)).any()


# --- in the loss --------------------------------------------------------------------------------


def test_all_parts_at_once_are_the_definition() -> None:
    """Values and gradients by student and projection against a plain autograd implementation."""
    models, settings = Models(), {"strength": 0.7, "c": 0.4, "base": 1.5, "feature_weight": 2}
    objective = Objective(
        "reverse_kl", Spec(name="egad", **settings), total_steps=4, widths=models.widths
    )
    objective.step(1.0)
    (projection,) = objective.parameters()
    projection.data = torch.randn(4, 3, dtype=torch.float64)
    given = [models.states, models.weight, projection]
    got = objective(models.student, models.teacher, models.labels)

    entropies = models.entropies()
    ratio = entropies / entropies.sort().values[3]
    place = (ratio**2 - 1) / (ratio**2 + 1)
    weight = (0.7 * -0.5 * place).exp()
    tau = 1.5 * (0.4 * place).exp()
    z_q, z_p = (z[models.counted] / tau.unsqueeze(-1) for z in models.logits())
    values = tau**2 * reverse_kl(z_q.log_softmax(-1), z_p.log_softmax(-1))
    ours = models.states[models.counted] @ projection.T
    theirs = models.teacher.states[models.counted]
    cosine = (ours * theirs).sum(-1) / (ours.norm(dim=-1) * theirs.norm(dim=-1))
    high = entropies > entropies.sort().values[3:5].mean()
    wanted = (weight / weight.mean() * (values + 2 * high * (1 - cosine))).mean()
    torch.testing.assert_close(got.loss, wanted)
    gradients = (torch.autograd.grad(loss, given) for loss in (got.loss, wanted))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    assert got.selected_ratio == 1
    assert got.temperature == pytest.approx(float(tau.detach().mean()))


@pytest.mark.parametrize("name", divergence)
def test_with_all_off_it_is_the_plain_arm_bit_by_bit(name: str) -> None:
    models, ends = Models(), []
    for arm in (None, Spec(name="egad", **OFF)):
        objective = Objective(name, arm, total_steps=4, widths=models.widths)
        assert list(objective.parameters()) == []
        loss = objective(models.student, models.teacher, models.labels).loss
        ends.append([loss.detach(), *torch.autograd.grad(loss, (models.states, models.weight))])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


@pytest.mark.parametrize("part", OFF)
@pytest.mark.parametrize("name", divergence)
def test_each_part_wraps_every_divergence(name: str, part: str) -> None:
    """Each alone changes the loss, keeps it finite, and is 0 for equal models."""
    models, spec = Models(), Spec(name="egad", **{**OFF, part: True})
    objective, plain = (
        Objective(name, arm, total_steps=4, widths=models.widths) for arm in (spec, None)
    )
    loss = objective(models.student, models.teacher, models.labels).loss
    gradients = torch.autograd.grad(loss, (models.states, models.weight))
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
    other = plain(models.student, models.teacher, models.labels).loss
    assert not torch.allclose(loss, other)
    same = Objective(name, spec, total_steps=4, widths=(3, 3))
    agreed = same(models.student, models.student, models.labels).loss
    assert float(agreed.detach()) == pytest.approx(0, abs=1e-9)


def test_prompt_and_padding_play_no_part() -> None:
    models = Models()
    arguments = ("todi", "egad", 4)
    objective = Objective(*arguments, widths=models.widths)
    loss = objective(models.student, models.teacher, models.labels).loss
    alone = [
        HiddenStates(side.states[models.counted], side.head)
        for side in (models.student, models.teacher)
    ]
    torch.testing.assert_close(objective(*alone, models.labels[models.counted]).loss, loss)
    folded = [
        HiddenStates(side.states.view(3, 3, -1), side.head)
        for side in (models.student, models.teacher)
    ]
    assert torch.equal(objective(*folded, models.labels.view(3, 3)).loss, loss)
    nothing = objective(models.student, models.teacher, torch.full_like(models.labels, IGNORED))
    assert float(nothing.loss.detach()) == 0


def test_states_in_half_precision_are_matched_in_full() -> None:
    """As read from a 16-bit cache, with a student under autocast."""
    models, losses = Models(), []
    for dtype in (torch.float32, torch.bfloat16):
        objective = Objective("reverse_kl", "egad", 4, widths=models.widths)
        student, teacher = (
            HiddenStates(
                side.states.detach().bfloat16().to(dtype), LMHead(side.head.weight.float())
            )
            for side in (models.student, models.teacher)
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            losses.append(objective(student, teacher, models.labels).loss)
        losses[-1].backward()
        (projection,) = objective.parameters()
        assert projection.grad is not None
        assert projection.grad.dtype == torch.float32
    torch.testing.assert_close(*losses)


def test_matching_needs_hidden_states_and_their_widths() -> None:
    models = Models()
    student, teacher = models.logits()
    objective = Objective("reverse_kl", "egad", 4, widths=models.widths)
    for pair in ((student, teacher), (models.student, teacher), (student, models.teacher)):
        with pytest.raises(AdakdError, match=r"hidden states.*instead of logits"):
            objective(*pair, models.labels)
    with pytest.raises(AdakdError, match=r"egad.*`widths`"):
        Objective("reverse_kl", "egad", 4)(models.student, models.teacher, models.labels)
    spec = Spec(name="egad", features=False)
    assert Objective("reverse_kl", spec, 4)(student, teacher, models.labels).loss > 0


def test_the_projection_takes_no_random_numbers() -> None:
    before = torch.get_rng_state()
    objective = Objective("reverse_kl", "egad", 4, widths=(3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    (projection,) = objective.parameters()
    assert projection.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_state_goes_round() -> None:
    models = Models()
    first, second = (Objective("reverse_kl", "egad", 4, widths=models.widths) for _ in range(2))
    for parameter in first.parameters():
        parameter.data += 1
    first.step(1.0)
    arguments = (models.student, models.teacher, models.labels)
    assert not torch.equal(first(*arguments).loss, second(*arguments).loss)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(*arguments).loss, second(*arguments).loss)
