"""From logits and labels to the loss: the steps shared by all divergences."""

from collections.abc import Mapping
from math import exp, log, sqrt
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from adakd.adaptive import AdaKD, Adaptive, TokenSelection
from adakd.data.example import IGNORED
from adakd.divergences import divergence, forward_kl
from adakd.errors import AdakdError
from adakd.losses.objective import Objective, SupervisedObjective, TokenObjective, next_token_labels
from adakd.registry import Spec

NEUTRAL = {
    "all off": Spec(name="adakd", focus="fixed", temperature="fixed"),
    "c = 0": Spec(name="adakd", focus="fixed", temperature={"name": "idts", "c": 0}),
}


def batch(*shape: int, seed: int = 0, extra: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return student logits, teacher logits and labels, a third of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    student = 2 * torch.randn(*shape, 13, generator=generator)
    teacher = 2 * torch.randn(*shape, 13 + extra, generator=generator)
    labels = torch.randint(13, shape, generator=generator)
    return student, teacher, labels.where(torch.rand(shape, generator=generator) > 0.3, IGNORED)


def differentiate(
    objective: TokenObjective, student: Tensor, teacher: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    student = student.clone().requires_grad_()
    loss = objective(student, teacher, labels).loss
    (gradient,) = torch.autograd.grad(loss, student)
    return loss.detach(), gradient


# --- the plain arm and the adaptive one -----------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("adaptive", NEUTRAL)
@pytest.mark.parametrize("name", divergence)
def test_a_neutral_method_is_the_plain_arm_bit_by_bit(
    name: str, adaptive: str, dtype: torch.dtype
) -> None:
    student, teacher, labels = batch(4, 9)
    student, teacher = student.to(dtype), teacher.to(dtype)
    plain = differentiate(Objective(name), student, teacher, labels)
    wrapped = Objective(name, NEUTRAL[adaptive], total_steps=10)
    neutral = differentiate(wrapped, student, teacher, labels)
    assert torch.equal(plain[0], neutral[0])
    assert torch.equal(plain[1], neutral[1])


def test_adakd_by_hand() -> None:
    """Three tokens over a vocabulary of two; the easiest is not selected."""
    p, q = [0.9, 0.8, 0.6], [0.5, 0.2, 0.6]
    logits = [torch.tensor([[log(x), log(1 - x)] for x in given]) for given in (q, p)]
    spec = Spec(name="adakd", focus={"name": "fixed", "ratio": 0.7})
    result = Objective("reverse_kl", spec, total_steps=1)(*logits, torch.zeros(3, dtype=torch.long))

    def hellinger(x: float, y: float) -> float:
        return sqrt(((sqrt(x) - sqrt(y)) ** 2 + (sqrt(1 - x) - sqrt(1 - y)) ** 2) / 2)

    def softened(x: float, tau: float) -> float:
        return x ** (1 / tau) / (x ** (1 / tau) + (1 - x) ** (1 / tau))

    scores = [hellinger(x, y) for x, y in zip(p, q, strict=True)]
    ratio = scores[1] / scores[0]  # the lower median of the two selected is the first's
    tau = [1.0, exp(-0.5 * (ratio**2 - 1) / (ratio**2 + 1))]
    expected = 0.0
    for i in range(2):
        x, y = softened(p[i], tau[i]), softened(q[i], tau[i])
        expected += tau[i] ** 2 * (y * log(y / x) + (1 - y) * log((1 - y) / (1 - x))) / 2
    assert float(result.loss) == pytest.approx(expected, rel=1e-5)
    assert result.temperature == pytest.approx(sum(tau) / 2, rel=1e-5)
    assert (result.tokens, result.selected, result.selected_ratio) == (3, 2, pytest.approx(2 / 3))


class Weighs(Adaptive):
    """An adaptive method with weights that selects all tokens."""

    def score(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        assert not student.requires_grad
        return labels.to(student.dtype)

    def select(self, scores: Tensor) -> TokenSelection:
        return TokenSelection(score=scores, positions=torch.arange(len(scores)), weight=scores)

    def begin(self, total_steps: int) -> None: ...

    def update(self, loss: float) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def test_a_method_may_weigh_tokens() -> None:
    student, teacher, _ = batch(3)
    labels = torch.tensor([0, 1, 2])
    values = forward_kl(student.log_softmax(-1), teacher.log_softmax(-1))
    result = Objective(forward_kl, Weighs(), total_steps=1)(student, teacher, labels)
    torch.testing.assert_close(result.loss, (values[1] + 2 * values[2]) / 3)


def test_the_loss_drives_the_focus_and_the_state_goes_round() -> None:
    focus = {"name": "latf", "warmup": 0, "beta": 0, "delta": 0.5}
    objective, other = (
        Objective("forward_kl", Spec(name="adakd", focus=focus), total_steps=10) for _ in range(2)
    )
    for loss in (10.0, 1.0):
        objective.step(loss)
    other.load_state_dict(objective.state_dict())
    for each in (objective, other):
        assert each(*batch(20)).selected_ratio == pytest.approx(0.5, abs=0.1)


# --- what counts ----------------------------------------------------------------------------


@pytest.mark.parametrize("adaptive", [None, "adakd"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_without_valid_tokens_nothing_is_learned(adaptive: str | None, dtype: torch.dtype) -> None:
    student, teacher, labels = batch(2, 5)
    objective = Objective("forward_kl", adaptive, total_steps=1)
    nothing = labels.fill_(IGNORED)
    loss, gradient = differentiate(objective, student.to(dtype), teacher, nothing)
    assert float(loss) == 0
    assert not gradient.any()
    assert objective(student, teacher, nothing).selected_ratio == 1


@pytest.mark.parametrize("adaptive", [None, "adakd"])
def test_prompt_and_padding_play_no_part(adaptive: str | None) -> None:
    student, teacher, labels = batch(3, 7)
    counted = labels != IGNORED
    objective = Objective("reverse_kl", adaptive, total_steps=1)
    loss, gradient = differentiate(objective, student, teacher, labels)
    alone = differentiate(objective, student[counted], teacher[counted], labels[counted])
    assert torch.equal(loss, alone[0])
    assert torch.equal(gradient[counted], alone[1])
    assert not gradient[~counted].any()
    student[~counted], teacher[~counted] = float("nan"), float("inf")
    assert torch.equal(differentiate(objective, student, teacher, labels)[0], loss)


@settings(max_examples=25, deadline=None)
@given(
    counted=st.lists(st.booleans(), min_size=2, max_size=12),
    cut=st.integers(1, 11),
    name=st.sampled_from(sorted(divergence)),
)
def test_one_loss_for_any_split_of_a_batch(counted: list[bool], cut: int, name: str) -> None:
    """Gradient accumulation, each part weighted by its valid tokens."""
    student, teacher, _ = batch(len(counted))
    labels = torch.tensor(counted).long() - 1
    labels = labels.where(labels == 0, IGNORED)
    objective = Objective(name)
    whole = differentiate(objective, student, teacher, labels)
    leaf, total = student.clone().requires_grad_(), max(1, sum(counted))
    for part in (slice(None, cut), slice(cut, None)):
        result = objective(leaf[part], teacher[part], labels[part])
        (result.loss * result.tokens / total).backward()
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, whole[1], rtol=1e-5, atol=1e-7)


def test_any_leading_shape() -> None:
    student, teacher, labels = batch(4, 6)
    objective = Objective("jensen_shannon", "adakd", total_steps=1)
    flat = objective(student.flatten(0, 1), teacher.flatten(0, 1), labels.flatten())
    folded = objective(student.view(2, 2, 6, 13), teacher.view(2, 2, 6, 13), labels.view(2, 2, 6))
    assert torch.equal(flat.loss, folded.loss)


# --- vocabulary and precision ---------------------------------------------------------------


def test_padding_of_the_teachers_vocabulary_is_cut() -> None:
    student, teacher, labels = batch(2, 5, extra=3)
    objective = Objective("forward_kl", "adakd", total_steps=1)
    cut = objective(student, teacher[..., :13], labels).loss
    assert torch.equal(objective(student, teacher, labels).loss, cut)


def test_padding_of_the_students_vocabulary_is_cut() -> None:
    student, teacher, labels = batch(2, 5)
    labels = labels.clamp(max=11)
    objective = Objective("forward_kl", "adakd", total_steps=1)
    value, gradient = differentiate(objective, student, teacher[..., :12], labels)
    cut, its_gradient = differentiate(objective, student[..., :12], teacher[..., :12], labels)
    assert torch.equal(value, cut)
    assert torch.equal(gradient[..., :12], its_gradient)
    assert not gradient[..., 12:].any()


def test_a_label_that_the_teachers_vocabulary_lacks_is_refused() -> None:
    student, teacher, labels = batch(4)
    labels = labels.clone()
    labels[0] = 12
    with pytest.raises(AdakdError, match=r"vocabulary \(12\) lacks the label 12"):
        Objective("forward_kl")(student, teacher[:, :12], labels)


@pytest.mark.parametrize("adaptive", [None, "adakd"])
def test_half_precision_logits_lose_nothing_more(adaptive: str | None) -> None:
    student, teacher, labels = batch(3, 5)
    student, teacher = student.bfloat16(), teacher.bfloat16()
    objective = Objective("reverse_kl", adaptive, total_steps=1)
    half = differentiate(objective, student, teacher, labels)
    full = differentiate(objective, student.float(), teacher.float(), labels)
    assert half[0].dtype == torch.float32
    assert torch.equal(half[0], full[0])
    assert half[1].dtype == torch.bfloat16
    assert torch.equal(half[1], full[1].bfloat16())


def test_double_precision_stays() -> None:
    student, teacher, labels = batch(6)
    objective = Objective("reverse_kl", "adakd", total_steps=1)
    loss = objective(student.double(), teacher.double(), labels).loss
    assert loss.dtype == torch.float64


@pytest.mark.parametrize("adaptive", [None, "adakd"])
@pytest.mark.parametrize("name", divergence)
def test_entries_that_both_models_rule_out_do_not_matter(name: str, adaptive: str | None) -> None:
    student, teacher, labels = batch(2, 5)
    objective = Objective(name, adaptive, total_steps=1)
    without = differentiate(objective, student[..., :11], teacher[..., :11], labels)
    student[..., 11:] = teacher[..., 11:] = -float("inf")
    loss, gradient = differentiate(objective, student, teacher, labels)
    torch.testing.assert_close(loss, without[0])
    torch.testing.assert_close(gradient[..., :11], without[1])
    assert not gradient[..., 11:].any()


# --- supervised, labels, and what is refused ------------------------------------------------


def test_supervised_is_cross_entropy() -> None:
    student, _, labels = batch(3, 7)
    result = SupervisedObjective()(student, None, labels)
    expected = F.cross_entropy(student.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(result.loss, expected)
    assert result.tokens == int((labels != IGNORED).sum())


def test_supervised_without_valid_tokens() -> None:
    student, _, labels = batch(3)
    loss, gradient = differentiate(SupervisedObjective(), student, student, labels.fill_(IGNORED))
    assert float(loss) == 0
    assert not gradient.any()


def test_labels_move_to_the_row_that_predicts_them() -> None:
    labels = torch.tensor([[IGNORED, 1, 2], [3, 4, IGNORED]])
    assert next_token_labels(labels).tolist() == [[1, 2, IGNORED], [4, IGNORED, IGNORED]]
    assert labels.tolist() == [[IGNORED, 1, 2], [3, 4, IGNORED]]


def test_what_is_refused() -> None:
    student, _, labels = batch(3)
    with pytest.raises(AdakdError, match="total_steps"):
        Objective("forward_kl", "adakd")
    with pytest.raises(AdakdError, match="unknown divergence"):
        Objective("forward")
    with pytest.raises(AdakdError, match="unknown adaptive method"):
        Objective("forward_kl", "adaptive", total_steps=1)
    with pytest.raises(AdakdError, match="teacher"):
        Objective("forward_kl")(student, None, labels)


def test_how_a_step_is_split_matters_to_adakd_alone() -> None:
    """It selects within a micro-batch, as the reference implementation does; the docs say so."""
    student, teacher, labels = batch(80)
    labels = labels.clamp_min(0)
    teacher[:20] = student[:20] + 0.1 * teacher[:20]  # an easy row beside three hard ones
    half = Spec(name="adakd", focus={"name": "fixed", "ratio": 0.5})
    apart = {}
    for name, adaptive in (("plain", None), ("adakd", half)):
        objective = Objective("reverse_kl", adaptive, total_steps=1)
        whole = float(objective(student, teacher, labels).loss)
        rows = [slice(start, start + 20) for start in range(0, 80, 20)]
        parts = [objective(student[at], teacher[at], labels[at]) for at in rows]
        apart[name] = abs(sum(float(part.loss) * part.tokens for part in parts) / 80 - whole)
    assert apart["plain"] < 1e-6
    assert apart["adakd"] > 1e-2


def test_a_gradient_through_scores_cannot_be_selected_over_a_step() -> None:
    class Crossing(AdaKD):
        differentiates_scores = True

    with pytest.raises(AdakdError, match=r"Crossing.*choose the scope micro_batch"):
        Objective("reverse_kl", Crossing(scope="step"), total_steps=1)
    assert Objective("reverse_kl", Crossing(), total_steps=1).selects_by_step is False


@pytest.mark.parametrize("labels", [[IGNORED] * 3, [1, IGNORED, 2]], ids=["no label", "none hard"])
def test_a_micro_batch_without_selected_tokens_has_loss_and_gradient_0(labels: list[int]) -> None:
    student, teacher, _ = batch(3)
    known, objective = torch.tensor(labels), Objective("reverse_kl", "adakd", total_steps=1)
    scores = objective.scores(student, teacher, known)
    assert len(scores) == int((known != IGNORED).sum())
    nothing = TokenSelection(scores, torch.empty(0, dtype=torch.long), temperature=scores[:0])
    leaf = student.clone().requires_grad_()
    loss = objective(leaf, teacher, known, nothing)
    loss.loss.backward()
    assert float(loss.loss.detach()) == 0
    assert (loss.tokens, loss.selected, loss.temperature) == (len(scores), 0, 1)
    assert leaf.grad is not None
    assert not leaf.grad.any()
