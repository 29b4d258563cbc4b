"""The kernels against blocks: on a GPU if there is one, else in Triton's interpreter."""

import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adakd.adaptive import AdaKD
from adakd.data.example import IGNORED
from adakd.divergences import Divergence, divergence, entry_form
from adakd.divergences.base import declared_entry_form
from adakd.errors import AdakdError
from adakd.losses import blocks, dispatch
from adakd.losses.blocks import (
    UNSCALED,
    DivergenceTerm,
    LogitRows,
    LogitScaling,
    SelectedTokens,
    cross_entropy,
)
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import Objective
from adakd.registry import Spec

pytest.importorskip("triton", reason="Triton is not installed")

import triton.language as tl

from adakd.losses import triton_kernels

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
VOCABULARY, TOKENS = (9001, 30) if GPU else (45, 3)
CLOSE = {
    torch.float32: {"rtol": 1e-5, "atol": 1e-6},
    torch.float16: {"rtol": 2e-3, "atol": 1e-6},
    torch.bfloat16: {"rtol": 2e-2, "atol": 1e-6},
}
HAVE = sorted(name for name in divergence if declared_entry_form(divergence[name]))
HALF = Spec(name="adakd", focus={"name": "fixed", "ratio": 0.5})
REDUCE_ROWS = triton_kernels.reduce_rows
VECTORS = np.load(Path(__file__).parents[1] / "golden" / "vectors.npz")


@pytest.fixture(autouse=True)
def _kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the kernels wherever the tests run, with several blocks per row."""
    monkeypatch.setattr(dispatch, "DEVICES", {DEVICE})
    monkeypatch.setattr(dispatch, "_agreed", {})
    dispatch._why_not_triton.cache_clear()
    dispatch.warn_once.cache_clear()
    if GPU:
        yield
        return
    monkeypatch.setattr(triton_kernels, "ENTRIES_AT_A_TIME", 32)
    for name in ("abs", "exp", "log", "sqrt"):  # the interpreter has them only as functions
        monkeypatch.setattr(tl.tensor, name, as_method(name))
    with np.errstate(all="ignore"):  # as on a GPU
        yield


def as_method(name: str) -> Callable[[Any], Any]:
    return lambda self: getattr(tl, name)(self)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def example(
    dtype: torch.dtype, gathered: bool, tempered: bool, scaling: LogitScaling
) -> SelectedTokens:
    """Tokens of two models; if gathered, every other row and a part of the teacher's vocabulary."""
    count = 2 * TOKENS if gathered else TOKENS
    student, teacher = (3 * random(count, VOCABULARY + seed, seed=seed) for seed in (0, 7))
    index = torch.arange(1, count, 2, device=DEVICE) if gathered else None
    return SelectedTokens(
        student=LogitRows(student.to(dtype), index, scaling),
        teacher=LogitRows(teacher.to(dtype)[:, :VOCABULARY], index, replace(scaling, scale=0.7)),
        labels=torch.zeros(TOKENS, dtype=torch.long, device=DEVICE),
        temperature=0.5 + random(TOKENS).abs() if tempered else None,
        factor=random(TOKENS, seed=1),
    )


def compare(
    name: str | Divergence,
    tokens: SelectedTokens,
    form: triton_kernels.BoundForm | None = None,
    whole: bool = False,
) -> None:
    """Compare a kernel's values, with and without the gradient, and its gradient with blocks.

    As a whole, if asked: powers of ratios cancel in single entries of thousands.
    """
    function = divergence[name] if isinstance(name, str) else name
    form = form or triton_kernels.bound_form(function)
    dtype, close = tokens.student.logits.dtype, CLOSE[torch.float32]
    got, wanted = (
        LogitRows(torch.zeros_like(tokens.student.logits), tokens.student.index) for _ in "12"
    )
    values = blocks.loss_rows(DivergenceTerm(function), tokens, wanted)
    given = form, tokens.student, tokens.teacher, tokens.temperature
    torch.testing.assert_close(triton_kernels.reduce_rows(*given), values, **close)
    torch.testing.assert_close(
        triton_kernels.reduce_rows(*given, tokens.factor, got), values, **close
    )
    if whole:
        distance = float((got.logits - wanted.logits).norm())
        assert distance <= CLOSE[dtype]["rtol"] * float(wanted.logits.norm())
        return
    torch.testing.assert_close(got.logits, wanted.logits, **CLOSE[dtype])


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("name", HAVE)
def test_a_kernel_gives_what_blocks_give(name: str, dtype: torch.dtype) -> None:
    compare(name, example(dtype, gathered=False, tempered=False, scaling=UNSCALED))
    compare(name, example(dtype, gathered=True, tempered=True, scaling=UNSCALED))


@pytest.mark.parametrize(
    "scaling",
    [LogitScaling(scale=0.3), LogitScaling(softcap=2.0), LogitScaling(scale=2.0, softcap=3.0)],
    ids=str,
)
@pytest.mark.parametrize("dtype", CLOSE, ids=str)
def test_what_a_model_does_after_its_head_is_part_of_the_gradient(
    dtype: torch.dtype, scaling: LogitScaling
) -> None:
    compare("reverse_kl", example(dtype, gathered=False, tempered=True, scaling=scaling))


@pytest.mark.parametrize("scaling", [UNSCALED, LogitScaling(softcap=2.0)], ids=str)
@pytest.mark.parametrize("name", HAVE)
def test_entries_that_are_ruled_out(name: str, scaling: LogitScaling) -> None:
    tokens = example(torch.float32, gathered=False, tempered=True, scaling=scaling)
    tokens.student.logits[:, 3:20] = -math.inf
    tokens.teacher.logits[:, 15:30] = -math.inf
    compare(name, tokens)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("jensen_shannon", {"lam": 0.9}),
        ("skew_forward_kl", {"lam": 0}),
        ("skew_reverse_kl", {"lam": 0}),
        ("todi", {"temperature": 0.3}),
        *(
            ("alpha_beta", {"alpha": alpha, "beta": beta})
            for alpha, beta in ((0, 0), (0, 0.5), (0.5, 0), (0.5, -0.5), (-0.5, 0.2))
        ),
    ],
    ids=str,
)
def test_settings_reach_the_kernel(name: str, settings: dict[str, Any]) -> None:
    function = divergence.build(Spec(name=name, **settings))
    tokens = example(torch.float32, gathered=False, tempered=False, scaling=UNSCALED)
    for side in (tokens.student, tokens.teacher):
        side.logits.mul_(0.3)  # powers of ratios
    compare(function, tokens, whole=GPU)


def test_a_gradient_may_replace_the_logits() -> None:
    tokens = example(torch.bfloat16, gathered=True, tempered=True, scaling=UNSCALED)
    form = triton_kernels.bound_form(divergence["todi"])
    given = form, tokens.student, tokens.teacher, tokens.temperature, tokens.factor
    apart = torch.zeros_like(tokens.student.logits)
    before = tokens.student.logits.clone()
    values = triton_kernels.reduce_rows(*given, LogitRows(apart, tokens.student.index))
    assert torch.equal(before, tokens.student.logits)
    assert torch.equal(triton_kernels.reduce_rows(*given, tokens.student), values)
    assert torch.equal(tokens.student.logits[1::2], apart[1::2])
    assert torch.equal(tokens.student.logits[::2], before[::2])


@pytest.mark.parametrize("factor", [1.0, -0.3])
@pytest.mark.parametrize("dtype", CLOSE, ids=str)
def test_a_gradient_is_multiplied_in_float32(dtype: torch.dtype, factor: float) -> None:
    """More entries than all programs take at a time, and a last block that is not full."""
    gradient = random(triton_kernels.ENTRIES_AT_A_TIME * 3 + 5).to(dtype)
    wanted = gradient.float() * factor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triton_kernels, "PROGRAMS", 2)
        triton_kernels.multiply(gradient, torch.tensor(factor, device=DEVICE))
    torch.testing.assert_close(gradient.float(), wanted, rtol=torch.finfo(dtype).eps, atol=1e-7)


@pytest.mark.parametrize("kernels", ["triton", "torch"])
def test_the_factor_of_a_loss_reaches_its_gradient(kernels: str) -> None:
    student, teacher = (random(TOKENS, VOCABULARY, seed=seed) for seed in (0, 1))
    student.requires_grad_()
    labels = torch.zeros(TOKENS, dtype=torch.long, device=DEVICE)
    objective = Objective("reverse_kl", kernels=kernels)
    once, thrice = (
        torch.autograd.grad(factor * objective(student, teacher, labels).loss, student)[0]
        for factor in (1, 3)
    )
    torch.testing.assert_close(thrice, 3 * once)
    assert once.any()


@pytest.mark.parametrize("shift", [0.0, 50.0])
@pytest.mark.parametrize("noise", [0.0, 1e-3, 1e-1, 1.0])
@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "Hellinger"])
def test_distributions_that_are_almost_equal(name: str, noise: float, shift: float) -> None:
    """A sum that is collected relative to the normalisers would cancel there."""
    student = 3 * random(TOKENS, VOCABULARY)
    teacher = (student.double() + noise * random(TOKENS, VOCABULARY, seed=1) + shift).float()
    log_q, log_p = (side.double().log_softmax(-1) for side in (student, teacher))
    given = LogitRows(student), LogitRows(teacher)
    if name == "Hellinger":
        got = triton_kernels.reduce_rows(triton_kernels.HELLINGER, *given)
        wanted = ((log_q / 2).exp() - (log_p / 2).exp()).square().sum(-1)
    else:
        got = triton_kernels.reduce_rows(triton_kernels.bound_form(divergence[name]), *given)
        wanted = divergence[name](log_q, log_p)
    # The logits' own rounding, 50 * 2^-24, limits a divergence; so does float32 where it is 0.
    torch.testing.assert_close(got.double(), wanted, rtol=2e-4, atol=1e-6 + 1e-5 * noise)


GOLDEN = {
    "forward_kl": Spec(name="forward_kl"),
    "reverse_kl": Spec(name="reverse_kl"),
    "js_lam0.9": Spec(name="jensen_shannon", lam=0.9),
    "js_lam0.5": Spec(name="jensen_shannon"),
    "total_variation": Spec(name="total_variation"),
    "skewed_forward_kl_lam0.1": Spec(name="skew_forward_kl"),
    "skewed_reverse_kl_lam0.1": Spec(name="skew_reverse_kl"),
    "alpha_beta_0.2_0.7": Spec(name="alpha_beta"),
    "todi": Spec(name="todi"),
}


@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_numbers(name: str, case: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_kernels, "ENTRIES_AT_A_TIME", 4096 if GPU else 256)
    student, teacher, values, slopes = (
        torch.from_numpy(VECTORS[f"case{case}.{key}"])[:TOKENS].to(DEVICE)
        for key in ("student_logits", "teacher_logits", f"{name}.value", f"{name}.grad")
    )
    form = triton_kernels.bound_form(divergence.build(GOLDEN[name]))
    got = LogitRows(torch.zeros_like(student))
    given = (
        form,
        LogitRows(student),
        LogitRows(teacher),
        None,
        torch.ones(TOKENS, device=DEVICE),
        got,
    )
    close = CLOSE[torch.float32]
    torch.testing.assert_close(triton_kernels.reduce_rows(*given), values, **close)
    torch.testing.assert_close(got.logits, slopes, **close)


# --- which code computes what -------------------------------------------------------------------


def losses(objective: Objective, hidden: bool) -> Iterator[Tensor]:
    """Yield the loss of a batch and its gradients."""
    count, width = 8, 6
    labels = torch.zeros(count, dtype=torch.long, device=DEVICE)
    labels[2] = IGNORED
    parts = [random(count, width), random(VOCABULARY, width, seed=1), random(VOCABULARY, seed=2)]
    theirs = random(count, width, seed=3), random(VOCABULARY + 5, width, seed=4)
    for part in parts:
        part.requires_grad_()
    student, teacher = (
        HiddenStates(parts[0], LMHead(*parts[1:])),
        HiddenStates(theirs[0], LMHead(theirs[1])),
    )
    if not hidden:
        student, teacher = (side.head.logits(side.states) for side in (student, teacher))
    loss = objective(student, teacher, labels).loss
    yield loss.detach()
    yield from torch.autograd.grad(loss, parts)


def in_any_order(form: triton_kernels.BoundForm, student: LogitRows, *rest: Any) -> Tensor:
    """Run a kernel after checking that no token overwrites the logits of another."""
    gradient = rest[-1] if len(rest) > 1 else None
    if gradient is not None and gradient.logits.data_ptr() == student.logits.data_ptr():
        assert gradient.index is student.index
    return REDUCE_ROWS(form, student, *rest)


@pytest.mark.parametrize("whole", [True, False], ids=["held logits", "groups"])
@pytest.mark.parametrize("hidden", [False, True], ids=["logits", "hidden"])
@pytest.mark.parametrize("adaptive", [None, HALF], ids=["plain", "half"])
def test_a_loss_is_the_same_on_both_paths(
    adaptive: Any, hidden: bool, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all rows at once, or so few at a time that gradients move to other rows in parts."""
    monkeypatch.setattr(dispatch, "DEVICE_BYTES", 2 * 4 * VOCABULARY)
    monkeypatch.setattr(triton_kernels, "reduce_rows", in_any_order)
    budget = 2**30 if whole else 3 * 2 * 4 * VOCABULARY
    objective, torch_only = (
        Objective("reverse_kl", adaptive, total_steps=1, budget=budget, kernels=kernels)
        for kernels in ("triton", "torch")
    )
    got = list(losses(objective, hidden))
    assert len(dispatch._agreed) >= 1 + (adaptive is not None)
    assert all(dispatch._agreed.values())
    monkeypatch.setattr(triton_kernels, "reduce_rows", None)  # not to be called
    wanted = list(losses(torch_only, hidden))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
def test_hellinger_scores(dtype: torch.dtype) -> None:
    tokens = example(dtype, gathered=True, tempered=False, scaling=LogitScaling(softcap=2.0))
    given = AdaKD(), tokens.student, tokens.teacher, tokens.labels
    got = dispatch.score_rows(*given)
    assert list(dispatch._agreed.values()) == [True]
    torch.testing.assert_close(got, blocks.score_rows(*given), **CLOSE[torch.float32])


class Own(AdaKD):
    def score(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        return -super().score(student, teacher, labels)


@pytest.mark.parametrize("adaptive", [AdaKD(indicator=Spec(name="entropy")), Own()])
def test_scores_without_a_kernel(adaptive: AdaKD, caplog: pytest.LogCaptureFixture) -> None:
    tokens = example(torch.float32, gathered=False, tempered=False, scaling=UNSCALED)
    given = adaptive, tokens.student, tokens.teacher, tokens.labels
    for _ in range(2):
        assert torch.equal(dispatch.score_rows(*given), blocks.score_rows(*given))
    assert not dispatch._agreed
    (message,) = caplog.messages
    assert type(adaptive).__name__ in message


def squared(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().mean(-1)


@pytest.mark.parametrize(
    ("term", "dtype"),
    [
        (DivergenceTerm(divergence["adaptive_kl"]), torch.float32),
        (DivergenceTerm(squared), torch.float32),
        (cross_entropy, torch.float32),
        (DivergenceTerm(divergence["reverse_kl"]), torch.float64),
    ],
    ids=["no sum over entries", "plug-in", "cross-entropy", "float64"],
)
def test_losses_without_a_kernel(
    term: Any, dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    """They are computed by blocks, with one warning for each that could have had a kernel."""
    tokens = example(dtype, gathered=False, tempered=False, scaling=UNSCALED)
    got, wanted = (LogitRows(torch.zeros_like(tokens.student.logits)) for _ in "12")
    for _ in range(2):
        values = dispatch.loss_rows(term, tokens, got)
    assert len(caplog.messages) == (term is not cross_entropy)
    assert torch.equal(values, blocks.loss_rows(term, tokens, wanted))
    assert torch.equal(got.logits, wanted.logits)
    assert not dispatch._agreed


def misworded(student: Tensor, teacher: Tensor) -> Tensor:
    return divergence["reverse_kl"](student, teacher)


@entry_form(misworded)
def _(log_q: Tensor, log_p: Tensor, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    part = q * (log_q - log_p)
    return part, 1.1 * part


def uncompilable(student: Tensor, teacher: Tensor) -> Tensor:
    return divergence["reverse_kl"](student, teacher)


@entry_form(uncompilable)
def _(log_q: Tensor, log_p: Tensor, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    return q.no_such_method(), q


@pytest.mark.parametrize(
    ("function", "why"), [(misworded, "numbers differ"), (uncompilable, "no_such_method")]
)
def test_a_kernel_that_fails_its_sample_is_not_used(
    function: Divergence, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither now nor later, with one warning."""
    tokens = example(torch.float32, gathered=False, tempered=False, scaling=UNSCALED)
    wanted = LogitRows(torch.zeros_like(tokens.student.logits))
    values = blocks.loss_rows(DivergenceTerm(function), tokens, wanted)
    with caplog.at_level(logging.WARNING, "adakd"):
        for _ in range(2):
            got = LogitRows(torch.zeros_like(tokens.student.logits))
            assert torch.equal(dispatch.loss_rows(DivergenceTerm(function), tokens, got), values)
            assert torch.equal(got.logits, wanted.logits)
    (message,) = caplog.messages
    assert why in message
    assert function.__name__ in message


@pytest.mark.parametrize("piece", ["ctkd", "zscore"])
def test_a_graph_from_the_logits_has_no_kernel(
    piece: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Autograd differentiates it, whatever computes the scores."""
    spec = Spec(name="adakd", temperature={"name": piece})
    objectives = (
        Objective("reverse_kl", spec, total_steps=4, kernels=kernels)
        for kernels in ("triton", "torch")
    )
    got, wanted = (list(losses(objective, hidden=False)) for objective in objectives)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    (message,) = caplog.messages
    assert "learned temperature or transformed logits" in message


# --- where kernels cannot run -------------------------------------------------------------------


def test_auto_takes_kernels_for_logits_on_their_devices_and_blocks_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = example(torch.float32, gathered=False, tempered=False, scaling=UNSCALED)
    term = DivergenceTerm(divergence["reverse_kl"])
    dispatch.row_functions("auto").loss_rows(term, tokens, None)
    assert dispatch._agreed
    assert all(dispatch._agreed.values())
    dispatch._agreed.clear()
    monkeypatch.setattr(dispatch, "DEVICES", {"xpu"})
    monkeypatch.setattr(dispatch, "_why_not_triton", lambda: None)
    got = dispatch.row_functions("auto").loss_rows(term, tokens, None)
    assert torch.equal(got, blocks.loss_rows(term, tokens, None))
    assert not dispatch._agreed
    monkeypatch.setattr(dispatch, "_why_not_triton", lambda: "where there is none")
    assert dispatch.row_functions("auto") is blocks.TORCH


def test_a_triton_that_does_not_import_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> None:
        raise OSError("built for another machine")

    monkeypatch.setattr(dispatch, "import_module", fails)
    with pytest.raises(AdakdError, match=r'built for another machine.*use "torch"'):
        Objective("reverse_kl", kernels="triton")
    Objective("reverse_kl")


def test_a_missing_triton_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "find_spec", lambda name: None)
    with pytest.raises(AdakdError, match="not installed"):
        Objective("reverse_kl", kernels="triton")


@pytest.mark.skipif(GPU, reason="there is a GPU")
def test_a_missing_gpu_is_an_error_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "DEVICES", {"cuda", "xpu"})
    with pytest.raises(AdakdError, match="no GPU"):
        Objective("reverse_kl", kernels="triton")


@pytest.mark.parametrize("adaptive", [None, HALF], ids=["plain", "half"])
def test_logits_elsewhere_than_on_a_gpu_are_an_error(
    adaptive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = Objective("reverse_kl", adaptive, total_steps=1, kernels="triton")
    monkeypatch.setattr(dispatch, "DEVICES", {"xpu"})
    with pytest.raises(AdakdError, match=f"these are on {DEVICE}"):
        objective(random(3, VOCABULARY), random(3, VOCABULARY), torch.zeros(3, dtype=torch.long))


def test_unknown_kernels_are_an_error() -> None:
    with pytest.raises(AdakdError, match="did you mean 'triton'"):
        Objective("reverse_kl", kernels="tritton")


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")  # NumPy's, in the interpreter
def test_a_row_that_is_not_finite_says_nothing_about_a_kernel() -> None:
    tokens = example(torch.float32, gathered=False, tempered=False, scaling=UNSCALED)
    tokens.student.logits[1] = math.nan
    out = LogitRows(torch.zeros_like(tokens.student.logits))
    values = dispatch.loss_rows(DivergenceTerm(divergence["reverse_kl"]), tokens, out)
    assert values.isnan().tolist() == [row == 1 for row in range(TOKENS)]
    assert list(dispatch._agreed.values()) == [True]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="with a GPU the default takes kernels")
def test_without_a_gpu_triton_is_not_imported() -> None:
    code = """
import sys, torch, adakd
student = torch.randn(3, 9, requires_grad=True)
objective = adakd.Objective("reverse_kl", "adakd", total_steps=1)
objective(student, torch.randn(3, 9), torch.zeros(3, dtype=torch.long)).loss.backward()
print({"triton", "adakd.losses.triton_kernels"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_kernel_compiles(tmp_path: Path) -> None:
    """For GPUs that need not be present: the interpreter accepts code that does not compile."""
    script = Path(__file__).with_name("compiling.py")
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    others = ["values", "gathered", "finished", "Hellinger", "factor", "80", "gfx942"]
    assert done.stdout.split() == [*HAVE, *others]
