"""Rows over units: their values, and the gradient that goes back through a bridge."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adakd import Objective
from adakd.bridges import Bridge, Side, bridge
from adakd.data.vocabulary import Vocabulary
from adakd.divergences import reverse_kl
from adakd.losses.blocks import RowFunctions, Rows, SelectedTokens
from adakd.losses.bridged import Units, bridged, shared_mass
from adakd.losses.diagnostics import diagnose
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.registry import Spec

STUDENT = Vocabulary(("</s>", "a", "b", "ab"), (b"", b"a", b"b", b"ab"), frozenset({0}), 0)
TEACHER = Vocabulary(
    ("ab", "b", "c", "<e>", "a"), (b"ab", b"b", b"c", b"", b"a"), frozenset({3}), 3
)


class Whole(Bridge):
    """The base class's rows, as a bridge that computes them itself."""


def connected(made: Bridge) -> Bridge:
    made.connect(STUDENT, TEACHER)
    return made


def units_of(made: Bridge, student: list[int], teacher: list[int]) -> Units:
    spans = made.align(np.array(student), np.array(teacher))
    return Units(*map(torch.tensor, (spans, student, teacher)))


# The text "abab" and an end: the student cuts it a|b|ab|</s>, the teacher ab|ab|<e>.
STUDENT_IDS, TEACHER_IDS = [1, 2, 3, 0], [0, 0, 3]


def outputs(head: bool, seed: int = 0) -> tuple[Tensor | HiddenStates, Tensor | HiddenStates]:
    torch.manual_seed(seed)
    made = []
    for rows, entries in ((len(STUDENT_IDS), 4), (len(TEACHER_IDS), 5)):
        states = torch.randn(rows, 3, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(entries, 3, dtype=torch.float64, requires_grad=True)
        made.append(HiddenStates(states, LMHead(weight)) if head else states @ weight.T)
    return made[0], made[1]


@pytest.mark.parametrize("head", [True, False], ids=["states", "logits"])
@pytest.mark.parametrize("arm", [None, "adakd"])
@pytest.mark.parametrize("budget", [None, 1])
def test_a_direct_bridge_is_the_divergence_of_renormalised_rows(
    head: bool, arm: str | None, budget: int | None
) -> None:
    made = connected(bridge.build(Spec(name="overlap")))
    units = units_of(made, STUDENT_IDS, TEACHER_IDS)
    assert units.spans.tolist() == [[2, 3, 1, 2], [3, 4, 2, 3]]
    student, teacher = outputs(head)
    ours, theirs = bridged(made, student, teacher, units)
    objective = Objective("reverse_kl", arm, total_steps=4, budget=budget)
    got = objective(ours, theirs, torch.zeros(2, dtype=torch.long))
    by_hand = torch.stack(
        [
            logits[rows][:, columns].log_softmax(-1)
            for logits, rows, columns in (
                (_logits(student), [2, 3], [0, 1, 2, 3]),
                (_logits(teacher), [1, 2], [3, 4, 1, 0]),
            )
        ]
    )
    if arm is None:
        q, p = by_hand
        wanted = (q.exp() * (q - p)).sum(-1).mean()
        assert torch.allclose(got.loss, wanted)
        leaf = student.states if isinstance(student, HiddenStates) else student
        (expected,) = torch.autograd.grad(wanted, leaf, retain_graph=True)
        (found,) = torch.autograd.grad(got.loss, leaf)
        assert torch.allclose(found, expected)
    assert got.tokens == 2


def _logits(given: Tensor | HiddenStates) -> Tensor:
    return given.head.logits(given.states) if isinstance(given, HiddenStates) else given


class Chunks(Bridge):
    """Means of a unit's log-probabilities: a bridge with units of several tokens."""

    def rows(self, student: Side, teacher: Side) -> tuple[Tensor, Tensor]:
        def mean(side: Side, columns: np.ndarray) -> Tensor:
            shared = side.logits.log_softmax(-1)[:, torch.tensor(columns)]
            rows = shared.new_zeros(len(side.first), shared.shape[-1])
            count = side.unit.bincount(minlength=len(side.first)).unsqueeze(-1)
            return rows.index_add(0, side.unit, shared) / count

        return mean(student, self.columns[0]), mean(teacher, self.columns[1])


@pytest.mark.parametrize("head", [True, False], ids=["states", "logits"])
@pytest.mark.parametrize("arm", [None, "adakd"])
@pytest.mark.parametrize("budget", [None, 1])
def test_a_gradient_goes_back_through_any_bridge(
    head: bool, arm: str | None, budget: int | None
) -> None:
    made = connected(Chunks())
    units = units_of(made, STUDENT_IDS, TEACHER_IDS)
    assert units.spans.tolist() == [[0, 2, 0, 1], [2, 3, 1, 2], [3, 4, 2, 3]]
    student, teacher = outputs(head)
    ours, theirs = bridged(made, student, teacher, units)
    objective = Objective("reverse_kl", arm, total_steps=4, budget=budget)
    labels = torch.tensor([1, 3, 0])
    got = objective(ours, theirs, labels)
    rows = [
        torch.stack([logits[a:b][:, of].log_softmax(-1).mean(0) for a, b in spans])
        for logits, of, spans in (
            (_all_log(_logits(student)), [0, 1, 2, 3], [(0, 2), (2, 3), (3, 4)]),
            (_all_log(_logits(teacher)), [3, 4, 1, 0], [(0, 1), (1, 2), (2, 3)]),
        )
    ]
    rows = [
        torch.stack([_all_log(_logits(given))[a:b][:, of].mean(0) for a, b in spans])
        for given, of, spans in (
            (student, [0, 1, 2, 3], [(0, 2), (2, 3), (3, 4)]),
            (teacher, [3, 4, 1, 0], [(0, 1), (1, 2), (2, 3)]),
        )
    ]
    wanted = Objective("reverse_kl", arm, total_steps=4)(rows[0], rows[1].detach(), labels)
    assert torch.allclose(got.loss, wanted.loss)
    leaves = (
        [student.states, student.head.weight] if isinstance(student, HiddenStates) else [student]
    )
    expected = torch.autograd.grad(wanted.loss, leaves, retain_graph=True)
    for found, right in zip(torch.autograd.grad(got.loss, leaves), expected, strict=True):
        assert torch.allclose(found, right)


def by_whole_rows(blocks: RowFunctions) -> RowFunctions:
    """Return functions that read and write whole rows, as kernels do."""

    def loss_rows(term: Any, tokens: SelectedTokens, gradient: Rows | None) -> Tensor:
        assert tokens.teacher is not None
        whole = replace(tokens, student=tokens.student.whole(), teacher=tokens.teacher.whole())
        return blocks.loss_rows(term, whole, None if gradient is None else gradient.whole())

    def score_rows(adaptive: Any, student: Rows, teacher: Rows, labels: Tensor) -> Tensor:
        return blocks.score_rows(adaptive, student.whole(), teacher.whole(), labels)

    return replace(blocks, loss_rows=loss_rows, score_rows=score_rows)


@pytest.mark.parametrize("head", [True, False], ids=["states", "logits"])
@pytest.mark.parametrize("arm", [None, "adakd"])
@pytest.mark.parametrize("budget", [None, 1])
def test_whole_rows_have_the_loss_and_the_gradient_of_blocks(
    head: bool, arm: str | None, budget: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adakd.losses.blocks.CACHED_BYTES", 1)  # a unit a block
    made = connected(Chunks())
    units, labels = units_of(made, STUDENT_IDS, TEACHER_IDS), torch.tensor([1, 3, 0])
    found = []
    for whole in (False, True):
        student, teacher = outputs(head)
        objective = Objective("reverse_kl", arm, total_steps=4, budget=budget)
        if whole:
            monkeypatch.setattr(objective, "_rows", by_whole_rows(objective._rows))
        loss = objective(*bridged(made, student, teacher, units), labels).loss
        leaf = student.states if isinstance(student, HiddenStates) else student
        found.append((loss.detach(), *torch.autograd.grad(loss, leaf)))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-15)


def _all_log(logits: Tensor) -> Tensor:
    return logits.log_softmax(-1)


@pytest.mark.parametrize("head", [True, False], ids=["states", "logits"])
def test_gradients_by_a_layer_go_back_through_any_bridge(head: bool) -> None:
    """Each group is one unit: its own loss and cross-entropy, led back to the layer by autograd."""
    torch.manual_seed(3)
    made = connected(Chunks())
    units = units_of(made, STUDENT_IDS, TEACHER_IDS)
    layer = torch.nn.Linear(2, 3).double()
    states = layer(torch.randn(4, 2, dtype=torch.float64)).tanh()
    weight = torch.randn(4, 3, dtype=torch.float64)
    student = HiddenStates(states, LMHead(weight)) if head else states @ weight.T
    teacher, labels = outputs(False)[1], torch.tensor([1, 3, 0])
    assert isinstance(teacher, Tensor)
    sides = bridged(made, student, teacher.detach(), units)
    parameters = [*layer.parameters()]
    difficulty, found = diagnose(*sides, labels, reverse_kl, None, parameters)
    rows, theirs = (
        torch.stack([_all_log(given)[a:b][:, of].mean(0) for a, b in spans]).log_softmax(-1)
        for given, of, spans in (
            (states @ weight.T, [0, 1, 2, 3], [(0, 2), (2, 3), (3, 4)]),
            (teacher.detach(), [3, 4, 1, 0], [(0, 1), (1, 2), (2, 3)]),
        )
    )
    losses = reverse_kl(rows, theirs), -rows[range(3), labels]
    by_loss, by_label = (
        torch.stack(
            [
                torch.cat([part.flatten() for part in grads(one, parameters)])
                for one in loss.unbind()
            ]
        )
        for loss in losses
    )
    order = difficulty.argsort(descending=True).tolist()
    assert found.layer_gradient is not None
    for place, group in zip(order, found.layer_gradient.values(), strict=True):
        norm = by_loss.norm(dim=-1)
        assert group.share == pytest.approx(float((norm[place] / norm.sum()).detach()))
        cosine = torch.cosine_similarity(by_loss[place], by_label[place], dim=0)
        assert group.sft == pytest.approx(float(cosine.detach()))


def grads(loss: Tensor, parameters: list[torch.nn.Parameter]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, parameters, retain_graph=True)


def test_the_shared_mass_is_that_of_the_common_entries() -> None:
    made = connected(bridge.build(Spec(name="overlap")))
    units = units_of(made, STUDENT_IDS, TEACHER_IDS)
    student, teacher = outputs(True)
    ours, theirs = shared_mass(made, student, teacher, units)
    assert torch.allclose(ours, torch.ones(2, dtype=torch.float64))
    without_c = 1 - _logits(teacher)[1:].softmax(-1)[:, 2]
    assert torch.allclose(theirs, without_c)
