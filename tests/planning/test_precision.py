"""``precision: auto``: resolved for this machine, before keys are made."""

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adakd.commands.plan import plan_summary
from adakd.config import Suite
from adakd.config.loading import load_suite
from adakd.config.resources import shipped
from adakd.planning import plan, precision
from adakd.planning.precision import Fastest, fastest


@pytest.fixture(autouse=True)
def _asked_anew() -> Any:
    fastest.cache_clear()
    yield
    fastest.cache_clear()


def processor(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str | None) -> None:
    if text is not None:
        (folder / "cpuinfo").write_text(text)
    monkeypatch.setattr(precision, "_CPUINFO", folder / "cpuinfo")
    monkeypatch.setattr(precision, "_torch_has_cuda", lambda: False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nmodel name: X\nflags\t\t: fpu avx512f avx512_bf16 sse\n", "bf16"),
        ("flags\t: amx_tile amx_bf16\n", "bf16"),
        ("flags\t: fpu avx2 avx512f\nbugs : avx512_bf16\n", "float32"),
        ("model name: avx512_bf16\n", "float32"),
        ("", "float32"),
        (None, "float32"),
    ],
    ids=["avx512", "amx", "neither", "a name", "no flags", "no file"],
)
def test_a_processor_is_known_by_its_flags(monkeypatch, tmp_path, text, expected: str) -> None:
    processor(monkeypatch, tmp_path, text)
    assert fastest().precision == expected


@pytest.mark.parametrize(
    ("capability", "expected"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "float32")], ids=str
)
def test_a_gpu_comes_before_the_processor(monkeypatch, tmp_path, capability, expected) -> None:
    processor(monkeypatch, tmp_path, "flags : amx_bf16")
    monkeypatch.setattr(precision, "_torch_has_cuda", lambda: True)
    monkeypatch.setattr(precision, "_gpu_capability", lambda: capability)
    assert fastest().precision == expected
    assert f"{capability[0]}.{capability[1]}" in fastest().device
    monkeypatch.setattr(precision, "_gpu_capability", lambda: None)
    fastest.cache_clear()
    assert fastest() == Fastest("bf16", "a processor with amx_bf16")


class Driver:
    """NVML with one GPU."""

    def __init__(self, asked: list[int]) -> None:
        self.asked = asked

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlShutdown(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = 4
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, _: Any) -> int:
        self.asked.append(index)
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, _: Any, major: Any, minor: Any) -> int:
        major._obj.value, minor._obj.value = 8, 6
        return 0


@pytest.mark.parametrize(
    ("visible", "asked"), [(None, [0]), ("2,3", [2]), ("GPU-8f", [0]), ("", []), ("-1", [])]
)
def test_the_first_visible_gpu_is_asked(monkeypatch, visible: str | None, asked: list[int]) -> None:
    seen: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver(seen))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert precision._gpu_capability() == ((8, 6) if asked else None)
    assert seen == asked


@pytest.mark.parametrize(
    ("visible", "count"),
    [
        (None, 4), ("2,3", 2), ("0,1,2,3,4,5", 4), ("GPU-8f,MIG-1a", 2), ("", 0), ("-1", 0),
        ("1,-1,2", 1),
    ],
)  # fmt: skip
def test_the_visible_gpus_are_counted(monkeypatch, visible: str | None, count: int) -> None:
    monkeypatch.setattr(precision, "_torch_has_cuda", lambda: True)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver([]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert precision.gpus() == count
    monkeypatch.setattr(precision, "_torch_has_cuda", lambda: False)
    assert precision.gpus() == 0


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(precision, "_torch_has_cuda", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert precision._gpu_capability() is None
    assert precision.gpus() == 0


def test_the_build_of_torch_is_known_without_importing_it() -> None:
    code = (
        "import sys; from adakd.planning.precision import _torch_has_cuda as h, fastest; "
        "fastest(); print(h(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    import torch

    assert done.stdout.split() == [str(torch.version.cuda is not None), "False"]


FIELDS = ("training.precision", "evaluation.precision", "teacher.sft.precision")


def as_machine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(precision, "fastest", lambda: Fastest(name, "a test"))


@pytest.mark.parametrize("name", ["bf16", "float32"])
def test_auto_has_the_keys_of_what_it_takes(monkeypatch, make_suite, name: str) -> None:
    as_machine(monkeypatch, name)
    given = plan(make_suite(dict.fromkeys(FIELDS, name)))
    resolved = plan(make_suite(dict.fromkeys(FIELDS, "auto")))
    assert resolved.suite == given.suite
    assert resolved.keys == given.keys
    assert all(
        one.training is None or one.training.precision == name for one in resolved.assignments
    )


def test_what_is_given_stays(monkeypatch: pytest.MonkeyPatch, make_suite) -> None:
    as_machine(monkeypatch, "bf16")
    suite: Suite = make_suite({"training.precision": "fp16"})
    assert plan(suite).suite == suite


def test_the_plan_tells_it(monkeypatch: pytest.MonkeyPatch, make_suite) -> None:
    as_machine(monkeypatch, "bf16")
    summary = plan_summary(plan(make_suite({"training.precision": "auto"})))
    (line,) = [str(one) for one in summary.renderables if "computed in" in str(one)]
    assert "float32 (teacher.sft), bf16 (training), float32 (scoring)" in line
    assert "fastest here: bf16, on a test" in line


@pytest.mark.parametrize("name", [name for name in shipped("suites") if name.startswith("paper/")])
def test_suites_of_the_paper_say_their_precision(name: str) -> None:
    suite = load_suite(name)
    sft = suite.teacher.sft
    assert "auto" not in (suite.training.precision, suite.evaluation.precision)
    assert sft is None or sft.precision != "auto"
