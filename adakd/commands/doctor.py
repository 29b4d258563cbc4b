"""Tell what this machine can do, and what each shipped suite takes: for `adakd doctor`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
from huggingface_hub.constants import ENDPOINT, is_offline_mode
from rich.console import Group
from rich.table import Table

from adakd.config import Pretrained, Suite, Training, resources
from adakd.config.loading import load_suite
from adakd.console import shown
from adakd.data.files import is_local
from adakd.execution.probe import product_speed
from adakd.models.loading import DTYPES, device
from adakd.models.sizes import parameters
from adakd.planning import Plan, plan
from adakd.planning.precision import fastest
from adakd.reporting.formatting import duration, size
from adakd.store.provenance import hardware, memory_total

EXTRAS = {
    "triton": "training.kernels: triton, on a GPU",
    "vllm": "serve a judge on a GPU",
    "uvicorn": "serve a judge with transformers: pip install '.[serve]'",
    "ray": "adakd run --on ray, on many GPUs or machines: pip install '.[ray]'",
    "pytest-benchmark": "adakd bench: pip install '.[bench]'",
}
"""Packages that adakd works without, and their purpose."""
SIDE, SECONDS = 768, 0.25
"""Rows of the square matrices whose product is timed, and the time given to each precision."""
CLEARLY = 1.25
"""How many times as fast a precision must be for this to be told."""
PATIENCE = 3.0
"""Seconds to wait for the hub."""
LONG = 86_400.0
"""Seconds of training that ask for a GPU."""
TRAINED, KEPT = 16, 4
"""Bytes of a parameter: weight, gradient and two moments of Adam in float32; the weight alone."""


@dataclass(frozen=True)
class Machine:
    """What a machine can do."""

    hardware: dict[str, str]
    """System, processor, cores, memory and GPU."""
    threads: int
    """Threads of torch."""
    memory: int
    """Bytes that a model can use: of the GPU where there is one."""
    has_gpu: bool
    speeds: dict[str, float]
    """Operations a second of a matrix product, by precision."""
    auto: str
    """What ``precision: auto`` is on this machine, as in plans and runs."""
    reason: str
    """The device that decides it."""
    hub: str
    """``reachable``, or why it is not."""
    extras: dict[str, str | None]
    """Versions of the optional packages; None where one is not installed."""


@dataclass(frozen=True)
class Need:
    """What a suite takes."""

    suite: str
    hub: tuple[str, ...]
    """Models and data that come from the hub, or from its cache on this machine."""
    memory: int | None
    """Bytes of weights, gradients and Adam's moments at the largest moment of the run. None where
    the size of a model is not known."""
    seconds: float | None
    """Of all training steps here, at the speed of matrix products: an order of magnitude."""
    lacks: tuple[str, ...]
    """What this machine lacks for it, of ``memory``, ``GPU``, ``GPU?`` (where the time is not
    known) and ``hub``."""


@dataclass(frozen=True)
class Findings:
    """All that `adakd doctor` tells."""

    machine: Machine
    suites: tuple[Need, ...]


def doctor() -> Findings:
    """Measure this machine, and compare it with the needs of every shipped suite. Takes seconds."""
    machine = measured()
    suites = (load_suite(name) for name in resources.shipped("suites"))
    return Findings(machine, tuple(need(plan(suite), machine) for suite in suites))


def measured() -> Machine:
    """Measure this machine."""
    where, found = device(), fastest()
    has_gpu = where.type == "cuda"
    square = (SIDE, SIDE, SIDE)
    speeds = {name: product_speed(of, where, square, SECONDS) for name, of in DTYPES.items()}
    return Machine(
        hardware=hardware(),
        threads=torch.get_num_threads(),
        memory=torch.cuda.mem_get_info()[1] if has_gpu else memory_total(),
        has_gpu=has_gpu,
        speeds=speeds,
        auto=found.precision,
        reason=found.device,
        hub=hub_state(),
        extras={name: _version(name) for name in EXTRAS},
    )


def hub_state(url: str = ENDPOINT) -> str:
    """Return ``reachable`` or why the hub is not."""
    if is_offline_mode():
        return "off: HF_HUB_OFFLINE is set"
    try:
        with urlopen(Request(url, method="HEAD"), timeout=PATIENCE):
            return "reachable"
    except HTTPError:  # an answer all the same
        return "reachable"
    except OSError as error:
        return f"not reachable: {url}: {getattr(error, 'reason', error)}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def need(planned: Plan, machine: Machine) -> Need:
    """Return what the suite of a plan takes on a machine."""
    suite, hub = planned.suite, tuple(_of_hub(planned.suite))
    teacher = parameters(suite.teacher.base, suite.teacher.base)
    student = parameters(suite.student, suite.teacher.base)
    memory = seconds = None
    if teacher is not None and student is not None:
        memory = _memory(planned, teacher, student)
        seconds = _seconds(planned, teacher, student, machine.speeds)
    return Need(suite.name, hub, memory, seconds, (*_lacks(hub, memory, seconds, machine),))


def _of_hub(suite: Suite) -> Iterator[str]:
    """Yield the models, the data and the lm-eval tasks that are not on this machine."""
    models = dict.fromkeys(
        base.model
        for base in (suite.teacher.base, suite.student, *(one.base for one in suite.students))
        if isinstance(base, Pretrained) and not os.path.isdir(base.model)
    )
    yield from models
    for source in (suite.data.train, *suite.evaluation.sets.values()):
        if source.kind == "hub" and not is_local(source, suite):
            yield source.id
    yield from (task.name for task in suite.evaluation.tasks)


def _memory(planned: Plan, teacher: int, student: int) -> int:
    """Return the bytes of the largest moment: the teacher's training, or a student's."""
    suite = planned.suite
    live = suite.teacher.cache == "off" or any(one.generates for one in planned.assignments)
    beside = teacher * KEPT if live else 0
    of_teacher = teacher * _bytes(suite.teacher.sft)
    return max(of_teacher, student * _bytes(suite.training) + beside)


def _bytes(training: Training | None) -> int:
    """Return the bytes of a parameter; adapters are small beside the weights they adapt."""
    return KEPT if training is None or training.lora is not None else TRAINED


def _seconds(planned: Plan, teacher: int, student: int, speeds: dict[str, float]) -> float | None:
    """Return the time of 6 operations for each parameter and token, and 2 where one only reads."""
    total, read = 0.0, 0
    for one in planned.assignments:
        _, tokens = planned.length(one)
        if tokens is None:
            return None
        if one.training is None:
            continue
        learning = teacher if one.cell.role == "teacher" else student
        total += 6 * learning * tokens / speeds[one.training.precision]
        if one.cell.has_teacher:
            read = max(read, tokens)
    return total + 2 * teacher * read / speeds["float32"]


def _lacks(
    hub: tuple[str, ...], memory: int | None, seconds: float | None, machine: Machine
) -> Iterator[str]:
    if memory is not None and memory > machine.memory:
        yield "memory"
    if not machine.has_gpu and (seconds is None or seconds > LONG):
        yield "GPU?" if seconds is None else "GPU"
    if hub and machine.hub != "reachable":
        yield "hub"


def findings_table(found: Findings) -> Group:
    """Return the findings for the terminal."""
    machine = found.machine
    first = Table.grid(padding=(0, 3))
    for name, text in _rows(machine):
        first.add_row(shown(name, "bold"), shown(text))
    second = Table("suite", "from the hub", "memory", "training", "lacks here")
    for one in found.suites:
        second.add_row(
            shown(one.suite),
            str(len(one.hub) or "nothing"),
            "–" if one.memory is None else size(one.memory),
            "–" if one.seconds is None else duration(one.seconds),
            ", ".join(one.lacks) or "nothing",
        )
    second.caption = (
        "memory: of weights, gradients and Adam's moments; activations come on top. training: an "
        "order of magnitude, from the speed above, without scoring; more than a day asks for a "
        "GPU. –: not known before the model or the data is loaded. hub: or its cache here, or "
        "copies, see data.folder"
    )
    return Group(first, "", second)


def faster(machine: Machine) -> str | None:
    """Return ``float32`` or ``bf16`` where it is clearly faster than what ``auto`` takes.

    ``auto`` goes by what the device has instructions for, so that a plan needs no torch and keys
    never depend on a measurement; here is where one would disagree.
    """
    other = "float32" if machine.auto == "bf16" else "bf16"
    is_faster = machine.speeds[other] > CLEARLY * machine.speeds[machine.auto]
    return other if is_faster else None


def _rows(machine: Machine) -> Iterator[tuple[str, str]]:
    yield from machine.hardware.items()
    yield "threads", str(machine.threads)
    speeds = sorted(machine.speeds.items(), key=lambda pair: -pair[1])
    told = ", ".join(f"{name} {speed / 1e9:,.0f}" for name, speed in speeds)
    yield "precision", f"auto is {machine.auto}, on {machine.reason} (GFLOP/s of a product: {told})"
    if other := faster(machine):
        yield (
            "",
            f"{other} is {machine.speeds[other] / machine.speeds[machine.auto]:.1f} times as fast "
            f"here: set training.precision and evaluation.precision to {other} in place of auto",
        )
    yield "hub", machine.hub
    for name, number in machine.extras.items():
        yield name, number or f"not installed; {EXTRAS[name]}"
