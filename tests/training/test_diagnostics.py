"""A look inside a training: numbers by hand, autograd's gradients, and a training left alone."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from adakd.adaptive import TokenSelection
from adakd.divergences.kl import forward_kl
from adakd.errors import AdakdError
from adakd.losses import diagnostics
from adakd.losses.blocks import LogitScaling
from adakd.losses.diagnostics import diagnose, histogram
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import Objective
from adakd.registry import Spec
from adakd.store import Store
from adakd.store.records import Diagnosis, DiagnosticRecord
from adakd.training.diagnostics import token_texts

TEACHER = torch.tensor([[0.4, 0.2, 0.2, 0.2], [0.25] * 4, [0.7, 0.1, 0.1, 0.1]]).log()
"""Against a student who finds all four words as likely: mid, easy and hard."""
UNIFORM = torch.zeros(3, 4)


# --- by hand ----------------------------------------------------------------------------------


def test_a_histogram_counts_every_value_once() -> None:
    counted = histogram(torch.tensor([0.0, 0.01, 12.0, 24.0]), 0, 24)
    assert (counted.counts[0], counted.counts[12], counted.counts[23]) == (2, 1, 1)
    assert sum(counted.counts) == 4
    assert len(counted.counts) == diagnostics.BINS


def test_a_histogram_of_one_value_is_one_bin() -> None:
    same = histogram(torch.ones(5))
    assert (same.low, same.high, same.counts) == (1, 1, (5,))


def test_gradients_of_four_words() -> None:
    r"""Forward KL's are q - p, the labels' q - onehot.

    Hard, label 0: (-.45, .15, .15, .15) and (-.75, .25, .25, .25), of one direction. Mid, label 1:
    (-.15, .05, .05, .05) and (.25, -.75, .25, .25), whose cosine is -.05 / sqrt(.03 * .75).
    """
    difficulty, found = diagnose(UNIFORM, TEACHER, torch.tensor([1, 2, 0]), forward_kl)
    assert difficulty.argsort().tolist() == [1, 0, 2]
    hard, mid, easy = (found.gradient[name] for name in ("hard", "mid", "easy"))
    assert [group.tokens for group in (hard, mid, easy)] == [1, 1, 1]
    assert [hard.share, mid.share] == pytest.approx([0.75, 0.25])
    assert [hard.sft, mid.sft] == pytest.approx([1, -1 / 3])
    assert [hard.whole, mid.whole] == pytest.approx([math.sqrt(0.9), math.sqrt(0.1)])
    assert easy.share == pytest.approx(0, abs=1e-6)


def test_tokens_that_are_left_out_have_no_gradient() -> None:
    selection = TokenSelection(score=torch.zeros(3), positions=torch.tensor([0, 2]))
    _, found = diagnose(UNIFORM, TEACHER, torch.tensor([1, 2, 0]), forward_kl, selection)
    easy = found.gradient["easy"]
    assert (easy.share, easy.sft, easy.whole) == (0, None, None)
    assert (found.tokens, found.kept) == (3, 2)


def test_entropy_before_and_after_temperature() -> None:
    """Of odds of 3 to 1; at temperature 1/2 they are 9 to 1. The harder half is cooled alone."""
    student = torch.tensor([[math.log(3), 0, -math.inf, -math.inf]]).expand(2, 4)
    teacher = torch.tensor([[0.75, 0.25, 1e-9, 1e-9], [0.05, 0.95, 1e-9, 1e-9]]).log()
    selection = TokenSelection(
        score=torch.zeros(2), positions=torch.tensor([0, 1]), temperature=torch.tensor([1.0, 0.5])
    )
    _, found = diagnose(student, teacher, torch.tensor([0, 0]), forward_kl, selection)
    warm = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    cold = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    hard, easy = found.entropy["hard"], found.entropy["easy"]
    for one in (hard.before, hard.after, easy.before, easy.after):
        assert (one.low, one.high) == pytest.approx((cold, warm))
        assert sum(one.counts) == 1
    assert (hard.before.counts[-1], hard.after.counts[0]) == (1, 1)
    assert (easy.before.counts[-1], easy.after.counts[-1]) == (1, 1)
    assert (found.temperature.low, found.temperature.high) == (0.5, 1)


def test_a_single_token_is_easy_and_in_the_first_third() -> None:
    _, found = diagnose(UNIFORM[:1], TEACHER[:1], torch.tensor([0]), forward_kl)
    assert sum(found.entropy["hard"].before.counts) == 0
    assert sum(found.entropy["easy"].before.counts) == 1
    assert (found.gradient["hard"].share, found.gradient["easy"].share) == (1, 0)


# --- against autograd -------------------------------------------------------------------------

FIXED = {"name": "adakd", "focus": {"name": "fixed", "ratio": 0.6}}
ARMS: list[Any] = [
    None,
    FIXED,
    {**FIXED, "temperature": "zscore"},
    {**FIXED, "temperature": {"name": "ctkd", "start": 0.7}},
    {"name": "egad", "features": False},
]


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: str(arm and (arm["name"], *arm.values())))
@pytest.mark.parametrize("rows", [2, 100])
def test_gradients_are_those_of_the_loss_by_the_logits(
    monkeypatch: pytest.MonkeyPatch, arm: Any, rows: int
) -> None:
    """In blocks of two tokens as in one."""
    monkeypatch.setattr(diagnostics, "DEVICE_BYTES", rows * 8 * 9)
    draw = torch.Generator().manual_seed(3)
    student, teacher = torch.randn(2, 11, 9, generator=draw, dtype=torch.float64).mul(2).unbind()
    labels = torch.randint(9, (11,), generator=draw)
    student.requires_grad_()
    spec = None if arm is None else Spec(**arm)
    objective = Objective("reverse_kl", spec, total_steps=10)
    loss = objective(student, teacher, labels)
    (by_loss,) = torch.autograd.grad(loss.loss, student)
    (by_label,) = torch.autograd.grad(torch.nn.functional.cross_entropy(student, labels), student)
    difficulty, found = diagnose(student, teacher, labels, objective.divergence, loss.selection)
    order, expected = difficulty.argsort(descending=True).tolist(), {}
    for name, of in (("hard", order[:4]), ("mid", order[4:8]), ("easy", order[8:])):
        ours, theirs = torch.zeros_like(by_loss), torch.zeros_like(by_label)
        ours[of], theirs[of] = by_loss[of], by_label[of]
        expected[name] = ours, theirs
    total = sum(float(ours.norm()) for ours, _ in expected.values())
    for name, (ours, theirs) in expected.items():
        group = found.gradient[name]
        assert group.share == pytest.approx(float(ours.norm()) / total, abs=1e-12)
        if ours.norm() > 0:
            assert group.sft == pytest.approx(cosine(ours, theirs))
            assert group.whole == pytest.approx(cosine(ours, by_loss))
        else:
            assert (group.sft, group.whole) == (None, None)


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def test_hidden_states_say_what_their_logits_say() -> None:
    draw = torch.Generator().manual_seed(4)
    states, weight = torch.randn(7, 3, generator=draw), torch.randn(5, 3, generator=draw)
    theirs, labels = torch.randn(7, 5, generator=draw), torch.arange(7) % 5
    hidden = HiddenStates(states.requires_grad_(), LMHead(weight.requires_grad_()))
    one = diagnose(hidden, theirs, labels, forward_kl)
    other = diagnose((states @ weight.T).detach(), theirs, labels, forward_kl)
    assert torch.allclose(one[0], other[0])
    assert one[1].gradient["hard"].sft == pytest.approx(other[1].gradient["hard"].sft)
    assert states.grad is weight.grad is None


# --- in a training ----------------------------------------------------------------------------


@pytest.mark.parametrize("arm", ["plain", "adakd", "ctkd"])
def test_looking_changes_no_weight(make_suite, trainings, arm: str) -> None:
    """Not a bit, dropout and micro-batches included; and no key, so that it costs nothing anew."""
    changes = {
        "arms": {"adakd": "adakd", "ctkd": {"name": "adakd", "temperature": "ctkd"}},
        "training.gradient_accumulation": 2,
        "student.config.attention_dropout": 0.2,
    }
    trained, seen = [], list[DiagnosticRecord]()
    for every in (0, 3):
        run = trainings(make_suite({**changes, "diagnostics": {"every": every}}), f"run{every}")
        steps = run.train(run.find(arm=arm), keep=seen.append).steps
        said = [step.model_dump(exclude={"seconds"}) for step in steps]
        trained.append((run.find(arm=arm).key, run.load(run.find(arm=arm)).state_dict(), said))
    (key, plain, steps), (its_key, watched, its_steps) = trained
    assert (key, steps) == (its_key, its_steps)
    assert all(torch.equal(value, watched[name]) for name, value in plain.items())
    assert [record.step for record in seen] == [1, 3, 4]
    assert len({record.key for record in seen}) == 3
    assert {record.cell.key for record in seen} == {key}


def test_a_broken_training_goes_on_with_its_looks(make_suite, trainings) -> None:
    changes = {"training.save_every": 1, "diagnostics": {"every": 2, "layer": 0}}
    whole, broken = list[DiagnosticRecord](), list[DiagnosticRecord]()
    run = trainings(make_suite(changes), "whole")
    run.train(run.find(arm="adakd"), keep=whole.append)

    def killed(step: int) -> None:
        if step == 3:
            raise KeyboardInterrupt

    run = trainings(make_suite(changes), "broken")
    with pytest.raises(KeyboardInterrupt):
        run.train(run.find(arm="adakd"), killed, broken.append)
    assert [record.step for record in broken] == [1, 2]
    run = trainings(make_suite(changes), "broken")
    run.train(run.find(arm="adakd"), keep=broken.append)
    assert broken == whole
    assert [record.step for record in whole] == [1, 2, 4]


def test_only_distilled_students_are_looked_at(make_suite, trainings) -> None:
    run = trainings(make_suite({"diagnostics": {"every": 1}}))
    seen = list[DiagnosticRecord]()
    for role in ("teacher", "sft"):
        run.train(run.find(role), keep=seen.append)
    assert seen == []


def test_a_look_tells_of_a_whole_response_and_the_extremes(make_suite, trainings) -> None:
    run = trainings(make_suite({"diagnostics": {"every": 4}}))
    seen = list[DiagnosticRecord]()
    record = run.train(run.find(arm="adakd"), keep=seen.append)
    answers = [tokens(one, run) for one in run.context.encoded.examples]
    for one, step in zip(seen, (record.steps[0], record.steps[3]), strict=True):
        assert one.kept / one.tokens == pytest.approx(step.kept_ratio)
        assert sum(group.tokens for group in one.gradient.values()) == one.tokens
        assert sum(group.share or 0 for group in one.gradient.values()) == pytest.approx(1)
        halves = [sum(half.before.counts) for half in one.entropy.values()]
        assert sum(halves) == sum(one.temperature.counts) == one.kept
        said = "".join(token.text for token in one.text)
        assert said in answers
        assert min(token.difficulty for token in one.hardest) >= max(
            token.difficulty for token in one.easiest
        )
        assert all(0 <= token.difficulty <= 1 for token in (*one.text, *one.hardest))


def tokens(example: Any, run: Any) -> str:
    response = [label for label in example.labels if label >= 0]
    return str(run.context.tokenizer.decode(response))


def test_records_survive_the_store(make_suite, trainings, tmp_path) -> None:
    run = trainings(make_suite({"diagnostics": {"every": 4}}))
    store = Store(tmp_path / "kept")
    seen = list[DiagnosticRecord]()
    run.train(run.find(), keep=lambda record: (seen.append(record), store.add(record)))
    assert Store(tmp_path / "kept").of(DiagnosticRecord) == seen
    assert isinstance(seen[0], Diagnosis)


def test_a_token_keeps_the_space_it_begins_with(tokenizer) -> None:
    class Pieces:
        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return [["\u2581the", "re"][number] for number in ids]

        def decode(self, ids: list[int]) -> str:
            return ["the", "re"][ids[0]]

    assert token_texts([0, 1], Pieces()) == [" the", "re"]
    ids = tokenizer("which word comes first")["input_ids"]
    assert "".join(token_texts(ids, tokenizer)) == tokenizer.decode(ids)


# --- by the parameters of a layer ---------------------------------------------------------------


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("hidden", [False, True], ids=["logits", "hidden"])
def test_gradients_by_a_layer_are_those_that_autograd_sums(
    hidden: bool, softcap: float | None
) -> None:
    """Each group's own loss, led back through what the head does to the layer's states."""
    draw = torch.Generator().manual_seed(5)
    inputs, theirs = torch.randn(8, 3, generator=draw), torch.randn(8, 6, generator=draw)
    layer = torch.nn.Linear(3, 4).requires_grad_()
    unused = torch.nn.Parameter(torch.ones(2))
    head = LMHead(torch.randn(6, 4, generator=draw), scaling=LogitScaling(1.5, softcap))
    labels = torch.arange(8) % 6
    states = layer(inputs).tanh()
    student = HiddenStates(states, head) if hidden else head.logits(states)
    spec = Spec(name="adakd", focus={"name": "fixed", "ratio": 0.9})
    objective = Objective("forward_kl", spec, total_steps=10)
    result = objective(student, theirs, labels)
    parameters = [*layer.parameters(), unused]
    difficulty, found = diagnose(
        student, theirs, labels, objective.divergence, result.selection, parameters
    )
    result.loss.backward()  # the graph is still there
    assert layer.weight.grad is not None

    logits = head.logits(layer(inputs).tanh())
    again = objective(logits, theirs, labels)
    by_logits = [
        torch.autograd.grad(loss, logits, retain_graph=True)[0]
        for loss in (again.loss, torch.nn.functional.cross_entropy(logits, labels))
    ]

    def of_group(rows: Tensor, of: list[int]) -> Tensor:
        part = torch.zeros_like(rows)
        part[of] = rows[of]
        both = torch.autograd.grad(logits, [*layer.parameters()], part, retain_graph=True)
        return torch.cat([one.flatten() for one in both])

    order = difficulty.argsort(descending=True).tolist()
    groups = {"hard": order[:3], "mid": order[3:6], "easy": order[6:]}
    ours, sft = ({n: of_group(g, of) for n, of in groups.items()} for g in by_logits)
    total, whole = sum(float(g.norm()) for g in ours.values()), torch.stack([*ours.values()]).sum(0)
    assert found.layer_gradient is not None
    for name, group in found.layer_gradient.items():
        assert group.share == pytest.approx(float(ours[name].norm()) / total, rel=1e-4)
        assert group.sft == pytest.approx(cosine(ours[name], sft[name]), rel=1e-4, abs=1e-5)
        assert group.whole == pytest.approx(cosine(ours[name], whole), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    "changes", [{}, {"training.gradient_checkpointing": True}, {"training.lora": {"r": 2}}]
)
def test_a_layer_is_looked_at_in_a_training_that_does_not_notice(
    make_suite, trainings, changes: dict[str, Any]
) -> None:
    """With dropout, checkpointing of activations or adapters."""
    changes |= {"student.config.attention_dropout": 0.2}
    trained, seen = [], list[DiagnosticRecord]()
    for looks in ({"every": 0}, {"every": 2, "layer": -1}):
        run = trainings(make_suite({**changes, "diagnostics": looks}), f"run{len(trained)}")
        run.train(run.find(arm="adakd"), keep=seen.append)
        trained.append(run.load(run.find(arm="adakd")).state_dict())
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())
    layers = run.load(run.find(arm="adakd")).config.num_hidden_layers
    assert {record.layer for record in seen} == {layers - 1}
    for record in seen:
        assert record.layer_gradient is not None
        shares = [group.share for group in record.layer_gradient.values()]
        assert sum(share or 0 for share in shares) == pytest.approx(1)
        assert record.layer_gradient != record.gradient


def test_a_layer_that_is_not_there_is_named(make_suite, trainings) -> None:
    run = trainings(make_suite({"diagnostics": {"every": 2, "layer": 7}}))
    with pytest.raises(AdakdError, match=r"diagnostics.layer: 7; the student has layers 0 to"):
        run.train(run.find())
