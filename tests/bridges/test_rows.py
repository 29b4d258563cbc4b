"""The rows of each bridge: by hand on two small vocabularies, and against a restatement."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adakd import Objective, divergence
from adakd.bridges import Bridge, bridge
from adakd.data.vocabulary import Vocabulary
from adakd.losses.bridged import Units, bridged, unit_rows
from adakd.registry import Spec

STUDENT = Vocabulary(("</s>", "a", "b", "ab"), (b"", b"a", b"b", b"ab"), frozenset({0}), 0)
TEACHER = Vocabulary(
    ("ab", "b", "c", "<e>", "ba"), (b"ab", b"b", b"c", b"", b"ba"), frozenset({3}), 3
)
"""Common entries: the ends, b and ab."""
TEXT = ([1, 2, 2, 0], [0, 1, 3])
"""``abb``: the student has a|b|b, the teacher ab|b."""
Q = [[0.1, 0.5, 0.3, 0.1], [0.2, 0.1, 0.4, 0.3], [0.3, 0.1, 0.5, 0.1], [0.7, 0.1, 0.1, 0.1]]
P = [[0.4, 0.1, 0.2, 0.1, 0.2], [0.1, 0.6, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.5, 0.2]]


def made(name: str, **settings: Any) -> Bridge:
    built: Bridge = bridge.build(Spec(name=name, **settings))
    built.connect(STUDENT, TEACHER)
    return built


def units(of: Bridge) -> Units:
    spans = of.align(*(np.array(side) for side in TEXT))
    return Units(*map(torch.tensor, (spans, *TEXT)))


def rows(of: Bridge) -> tuple[list[list[float]], list[list[float]]]:
    """Return the probabilities of all rows."""
    logits = [torch.tensor(side, dtype=torch.float64).log() for side in (Q, P)]
    ours, theirs = (side.exp() for side in unit_rows(of, *logits, units(of)))
    return ours.tolist(), theirs.tolist()


def near(wanted: list[list[float]]) -> list[Any]:
    return [pytest.approx(row) for row in wanted]


def test_the_text_has_three_units() -> None:
    assert units(made("gold")).spans.tolist() == [[0, 2, 0, 1], [2, 3, 1, 2], [3, 4, 2, 3]]


def test_overlap() -> None:
    """Only b and the end are one token on both sides; their entries are </s>, b, ab."""
    ours, theirs = rows(made("overlap"))
    assert ours == near([[0.3, 0.5, 0.1], [0.7, 0.1, 0.1]])
    assert theirs == near([[0.1, 0.6, 0.1], [0.5, 0.1, 0.1]])


def test_uld() -> None:
    ours, theirs = rows(made("uld"))
    assert ours == near([[0.5, 0.3, 0.1, 0.1], [0.5, 0.3, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]])
    assert theirs[0] == pytest.approx([0.4, 0.2, 0.2, 0.1])


def test_uld_by_index_compares_tokens_of_any_text() -> None:
    found = made("uld", positions="index").align(np.array([1, 2, 2, 0]), np.array([0, 1, 3]))
    assert found.tolist() == [[0, 1, 0, 1], [1, 2, 1, 2], [2, 3, 2, 3]]


def test_gold_takes_the_first_token_and_what_follows_it() -> None:
    """The student's a|b: a's distribution times .4 for b. Of c and ba the likelier stands by a."""
    ours, theirs = rows(made("gold"))
    assert ours[0] == pytest.approx([0.4 * 0.1, 0.4 * 0.3, 0.4 * 0.1, 0.4 * 0.5, 0])
    assert theirs[0] == pytest.approx([0.1, 0.1, 0.4, 0.2, 0])
    assert ours[1] == pytest.approx([0.3, 0.5, 0.1, 0.1, 0])


def test_gold_bayesian_takes_the_last_token_and_what_precedes_it() -> None:
    ours, _ = rows(made("gold", merge="bayesian"))
    assert ours[0] == pytest.approx([0.5 * 0.2, 0.5 * 0.4, 0.5 * 0.3, 0.5 * 0.1, 0])


def test_gold_has_the_mass_of_other_continuations_where_both_have_several_tokens() -> None:
    """bab: the student has b|a|b, the teacher ba|b and b|... cut as ba|b: one unit of ba."""
    of = made("gold")
    ids = torch.tensor([2, 1]), torch.tensor([1, 2])  # b|a and b|c, taken as one unit
    logits = [torch.tensor(side, dtype=torch.float64).log() for side in (Q[:2], P[:2])]
    ours, theirs = unit_rows(of, *logits, Units(torch.tensor([[0, 2, 0, 2]]), *ids))
    assert ours.exp()[0].tolist() == pytest.approx([0.01, 0.03, 0.01, 0.05, 0.9])
    assert theirs.exp()[0].tolist() == pytest.approx([0.01, 0.01, 0.04, 0.02, 0.9])


def test_simct_scores_a_text_by_the_mean_of_its_tokens() -> None:
    """a|b has (.5 * .4) ** .5 beside the common entries; the teacher's ab is one token, of .4."""
    ours, theirs = rows(made("simct"))
    virtual = (0.5 * 0.4) ** 0.5
    assert ours[0] == pytest.approx([0.1, 0.3, 0.1, virtual])
    total = 0.1 + 0.1 + 0.4 + 0.4
    assert theirs[0] == pytest.approx([0.1 / total, 0.1 / total, 0.4 / total, 0.4 / total])
    assert ours[1] == pytest.approx([0.3, 0.5, 0.1, 0])


def test_alm_compares_the_likelihoods_of_texts() -> None:
    ours, theirs = rows(made("alm", tau=2))
    assert ours == near(
        [[0.2**0.5, 1 - 0.2**0.5], [0.5**0.5, 1 - 0.5**0.5], [0.7**0.5, 1 - 0.7**0.5]]
    )
    assert theirs[0] == pytest.approx([0.4**0.5, 1 - 0.4**0.5])


def test_x_token_carries_the_student_over() -> None:
    """Means over a|b; the teacher's likeliest entry there is ab. Nothing of the student's is c."""
    ours, theirs = rows(made("x_token", top=1))
    assert theirs[0] == pytest.approx([0.4])
    assert ours[0] == pytest.approx([(0.1 + 0.3) / 2])
    ours, theirs = rows(made("x_token"))
    assert sum(ours[0]) == pytest.approx(1)
    assert sorted(ours[1]) == pytest.approx([0.1, 0.1, 0.3, 0.5])


def test_hybrid_x_token_compares_means_of_log_probabilities() -> None:
    """a stands for ba, so all of the student's entries are common; of the teacher's c is not."""
    ours, theirs = rows(made("x_token", form="hybrid"))
    q = [(Q[0][entry] * Q[1][entry]) ** 0.5 for entry in (0, 1, 2, 3)]
    assert ours[0] == pytest.approx(q)
    assert theirs[0] == pytest.approx([P[0][entry] for entry in (3, 4, 1, 0)])
    assert made("x_token", form="hybrid").labels(np.array([1, 2, 3])).tolist() == [1, 2, 3]


def test_hybrid_x_token_sorts_the_entries_that_nothing_pairs() -> None:
    student = Vocabulary(("</s>", "a", "y", "z"), (b"", b"a", b"y", b"z"), frozenset({0}), 0)
    teacher = Vocabulary(("</s>", "a", "p", "q"), (b"", b"a", b"p", b"q"), frozenset({0}), 0)
    for top, width in ((8192, 2), (1, 1)):
        made_with: Bridge = bridge.build(Spec(name="x_token", form="hybrid", top=top))
        made_with.connect(student, teacher)
        ids = torch.tensor([1])
        q, p = (
            torch.tensor([[0.2, 0.3, 0.1, 0.4]]).log(),
            torch.tensor([[0.1, 0.2, 0.5, 0.2]]).log(),
        )
        one = Units(torch.tensor([[0, 1, 0, 1]]), ids, ids)
        ours, theirs = unit_rows(made_with, q, p, one)
        assert ours.exp()[0].tolist() == pytest.approx([0.2, 0.3, 0.4, 0.1][: 2 + width])
        assert theirs.exp()[0].tolist() == pytest.approx([0.1, 0.2, 0.5, 0.2][: 2 + width])


def test_p_kl_is_the_published_loss_restated() -> None:
    """Dense matrices: W^T q, means over a unit, renormalised; KL(p || q) and its mean."""
    torch.manual_seed(3)
    of = made("x_token")
    student, teacher = torch.randn(4, 4).double(), torch.randn(3, 5).double()
    matrix = torch.zeros(4, 5, dtype=torch.float64)
    matrix[of.projection[0], of.projection[1]] = torch.tensor(of.projection[2])
    assert torch.equal(matrix.sum(1), torch.ones(4).double())
    kept = [0, 1, 3, 4]  # nothing leads to c
    values = []
    for start, stop, first, last in units(of).spans.tolist():
        q = (student[start:stop].softmax(-1) @ matrix).mean(0)[kept]
        p = teacher[first:last][:, kept].log_softmax(-1).mean(0)
        q, p = (q / q.sum()).log(), p.log_softmax(-1)
        values.append((p.exp() * (p - q)).sum())
    loss = Objective("forward_kl")(*bridged(of, student, teacher, units(of)), LABELS).loss
    assert float(loss) == pytest.approx(float(torch.stack(values).mean()), rel=1e-9)


def test_total_variation_of_sorted_rows_is_half_of_uld() -> None:
    """A restatement of the reference implementation, where the vocabularies are of one size."""
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 4).double(), torch.randn(3, 4).double()
    of = made("uld", positions="index")
    p, q = (side.softmax(-1).sort(-1, descending=True).values for side in (teacher, student[:3]))
    published = (p - q).abs().sum(-1).mean()
    loss = Objective("total_variation")(*bridged(of, student, teacher, units(of)), LABELS).loss
    assert float(loss) == pytest.approx(float(published) / 2)


LABELS = torch.zeros(3, dtype=torch.long)


def test_forward_kl_over_alm_has_the_gradient_of_its_binary_cross_entropy() -> None:
    torch.manual_seed(1)
    student, teacher = torch.randn(4, 4).double().requires_grad_(), torch.randn(3, 5).double()
    of = made("alm")

    def likelihood(logits: Tensor, ids: list[int], start: int, stop: int) -> Tensor:
        own = logits.log_softmax(-1)[range(start, stop), ids[start:stop]]
        return (own.sum() / 100).exp()

    losses = []
    for start, stop, first, last in units(of).spans.tolist():
        q = likelihood(student, TEXT[0], start, stop)
        p = likelihood(teacher, TEXT[1], first, last)
        losses.append(-(p * q.log() + (1 - p) * (1 - q).log()))
    (wanted,) = torch.autograd.grad(torch.stack(losses).mean(), student)
    loss = Objective("forward_kl")(*bridged(of, student, teacher, units(of)), LABELS).loss
    (got,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(got, wanted)


RESTATED: dict[str, Callable[[list[Any], list[int], bool], list[float]]] = {
    "gold": lambda tokens, ids, ours: _gold(tokens, ids, ours),
    "simct": lambda tokens, ids, ours: _common(tokens[0], ours),
}


def _common(row: list[float], ours: bool) -> list[float]:
    return [row[entry] for entry in ((0, 2, 3) if ours else (3, 1, 0))]


def _gold(tokens: list[Any], ids: list[int], ours: bool) -> list[float]:
    later = prod(row[entry] for row, entry in zip(tokens[1:], ids[1:], strict=True))
    alone = (1,) if ours else (2, 4)
    likeliest = max(tokens[0][entry] for entry in alone)
    return [value * later for value in (*_common(tokens[0], ours), likeliest)]


@pytest.mark.parametrize("name", ["gold", "simct"])
@pytest.mark.parametrize("by", ["forward_kl", "reverse_kl", "total_variation"])
def test_a_loss_is_the_divergence_of_restated_rows(name: str, by: str) -> None:
    torch.manual_seed(2)
    logits = torch.randn(4, 4).double(), torch.randn(3, 5).double()
    probabilities = [side.softmax(-1).tolist() for side in logits]
    of, values = made(name), []
    for span in units(of).spans.tolist():
        restated = []
        several = any(span[at + 1] - span[at] > 1 for at in (0, 2))
        for side in (0, 1):
            start, stop = span[2 * side : 2 * side + 2]
            tokens, ids = probabilities[side][start:stop], TEXT[side][start:stop]
            row = RESTATED[name](tokens, ids, side == 0)
            if name == "simct" and several:
                own = [line[entry] for line, entry in zip(tokens, ids, strict=True)]
                row.append(prod(own) ** (1 / len(own)))
            restated.append(torch.tensor([value / sum(row) for value in row]).double().log())
        values.append(divergence.build(Spec(name=by))(*restated))
    loss = Objective(by)(*bridged(of, *logits, units(of)), LABELS).loss
    assert float(loss) == pytest.approx(float(torch.stack(values).mean()), rel=1e-5)


def test_labels_name_the_text() -> None:
    firsts = np.array([1, 2, 0])
    assert made("overlap").labels(np.array([2, 0])).tolist() == [1, 0]
    assert made("gold").labels(firsts).tolist() == [3, 1, 0]
    assert made("simct").labels(firsts).tolist() == [3, 1, 0]
    assert made("alm").labels(firsts).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["alm", "gold"])
def test_a_certain_text_leaves_loss_and_gradient_finite(name: str) -> None:
    of, sure = made(name), 80.0
    student = torch.zeros(4, 4)
    student[range(4), TEXT[0]] = sure
    student.requires_grad_()
    loss = Objective("reverse_kl")(*bridged(of, student, torch.zeros(3, 5), units(of)), LABELS).loss
    loss.backward()
    assert float(loss.detach()) < 100
    assert student.grad is not None
    assert student.grad.isfinite().all()
