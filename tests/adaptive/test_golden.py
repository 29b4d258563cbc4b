"""AdaKD against the official code: 31 losses with all that leads to them, 6 runs of LATF."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adakd.adaptive import AdaKD, adaptive, focus, indicator
from adakd.divergences import Divergence, divergence
from adakd.losses import blocks
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import Objective
from adakd.registry import Spec

FOLDER = Path(__file__).parents[1] / "golden"
ARRAYS = np.load(FOLDER / "vectors.npz")
VECTORS = json.loads((FOLDER / "vectors.json").read_text())
CLOSE = {"rtol": 1e-5, "atol": 1e-6}

INDICATORS = {
    "hellinger": "hellinger",
    "forwardkl": "forward_kl",
    "reversekl": "reverse_kl",
    "jsd": "jensen_shannon",
    "ce": "cross_entropy",
    "entropy": "entropy",
    "prob": "least_confidence",
    "ce_entropy": "cross_entropy_entropy",
    "nmtkd": "nmtkd",
    "bhattacharyya": "bhattacharyya",
    "gt_prob": "focal_cross_entropy",
    "sensitivity_reverse": "sensitivity",
}


def without_entropy(student: Tensor, teacher: Tensor) -> Tensor:
    """The official skew forward KL: our value less the constant sum p log p."""
    return divergence["skew_forward_kl"](student, teacher) - (teacher.exp() * teacher).sum(-1)


DIVERGENCES: dict[str, Spec | Divergence] = {
    "fkd": Spec(name="forward_kl"),
    "rkd": Spec(name="reverse_kl"),
    "jsd": Spec(name="jensen_shannon", lam=0.9),
    "tvd": Spec(name="total_variation"),
    "abkd": Spec(name="alpha_beta", alpha=0.2, beta=0.7),
    "srkd": Spec(name="skew_reverse_kl", lam=0.1),
    "sfkd": without_entropy,
}


def method(vector: dict[str, Any]) -> AdaKD:
    sign = -1 if vector["inverse_scaling"] else 1
    scaled = {"name": "idts", "c": sign * vector["c"], "base": vector["tau_base"]}
    spec = Spec(
        name="adakd",
        indicator=INDICATORS[vector["indicator"]],
        focus={"name": "fixed", "ratio": vector["retention"]},
        temperature=scaled if vector["idts"] else "fixed",
    )
    built: AdaKD = adaptive.build(spec)
    return built


def as_hidden(logits: Tensor) -> HiddenStates:
    """Logits as hidden states, by a head that does nothing: the gradients are the same."""
    return HiddenStates(logits, LMHead(torch.eye(logits.shape[-1])))


PATHS: dict[str, tuple[Callable[[Tensor], Any], int]] = {
    "logits": (lambda logits: logits, 1024**2),
    "logits, row by row": (lambda logits: logits, 1),
    "hidden states": (as_hidden, 1024**2),
    "hidden states, row by row": (as_hidden, 1),
}
"""What is given to the objective, and the bytes of its blocks and of its groups."""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("vector", VECTORS["adakd"], ids=lambda v: str(v["id"]))
def test_loss_and_all_that_leads_to_it(
    vector: dict[str, Any], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, size = PATHS[path]
    monkeypatch.setattr(blocks, "CACHED_BYTES", size)
    student, teacher, labels = (
        torch.from_numpy(ARRAYS[f"case{vector['case']}.{name}"])
        for name in ("student_logits", "teacher_logits", "labels")
    )
    student.requires_grad_()
    objective = Objective(DIVERGENCES[vector["divergence"]], method(vector), 1, size)
    result = objective(given(student), given(teacher), labels)
    result.loss.backward()

    valid = (labels != -100).nonzero().squeeze(-1)
    assert valid.tolist() == vector["valid"]
    assert result.selection is not None
    torch.testing.assert_close(result.selection.score, torch.tensor(vector["score"]), **CLOSE)
    assert valid[result.selection.positions].tolist() == vector["selected"]
    if vector["idts"]:  # elsewhere the official code computes temperatures and does not use them
        tau = torch.tensor(vector["temperature"])
        torch.testing.assert_close(result.selection.temperature, tau, **CLOSE)
    else:
        assert result.selection.temperature is None
    torch.testing.assert_close(result.loss.detach(), torch.tensor(vector["loss"]), **CLOSE)
    gradient = torch.from_numpy(ARRAYS[f"adakd{vector['id']}.grad"])
    torch.testing.assert_close(student.grad, gradient, **CLOSE)


def test_every_indicator_is_compared() -> None:
    assert set(INDICATORS.values()) == set(indicator)
    assert {vector["indicator"] for vector in VECTORS["adakd"]} == set(INDICATORS)


@pytest.mark.parametrize("run", VECTORS["latf"], ids=lambda r: f"{r['seed']}-{r['warmup_steps']}")
def test_latf(run: dict[str, Any]) -> None:
    steps = len(run["losses"])
    latf = focus.build(
        Spec(
            name="latf",
            warmup=run["warmup_steps"] / steps,
            beta=run["ema_decay"],
            eps=run["tolerance"],
            delta=run["step"],
            floor=run["floor"],
        )
    )
    latf.begin(steps)
    ratios, averages = [], []
    for loss in run["losses"]:
        latf.update(loss)
        ratios.append(latf.ratio)
        averages.append(latf.ema)
    assert ratios == pytest.approx(run["ratio"], rel=1e-9)
    assert averages == pytest.approx(run["ema"], rel=1e-9)
