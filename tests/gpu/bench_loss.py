"""The cost of a loss on a device, forward and backward, beside other ways to compute it.

    python tests/gpu/bench_loss.py OUT.json [--seconds N] [--sides NAME ...] [--sources NAME ...]
                                   [--device cpu --tiny]

Sides: the Triton kernels and the PyTorch blocks of this package; the reference implementations
restated (``tests/bench/restated.py``); the lean restatement, as it is and under ``torch.compile``;
and, for what it has, liger-kernel. All start from the same bfloat16 logits, or from the same
bfloat16 hidden states with both LM heads, and end with the gradient.
"""

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

from device_timing import Device, Results, Step, arguments, spread, table

SIZES = {
    152_000: {"tokens": 4096, "student": 1536, "teacher": 3584},
    49_152: {"tokens": 8192, "student": 576, "teacher": 576},
}
"""By vocabulary: tokens, and the widths of the hidden states."""
TINY = {320: {"tokens": 6, "student": 16, "teacher": 24}}
LOSSES = (
    ("reverse_kl", "adakd"),
    ("reverse_kl", None),
    ("forward_kl", None),
    ("jensen_shannon", None),
    ("forward_kl", "adakd"),
)
LAUNCHES = [
    (entries, warps)
    for entries, warps in product((1024, 2048, 4096, 8192), (4, 8, 16, 32))
    if 4 <= entries // (32 * warps) <= 16
]
"""Vocabulary entries at a time and warps of a kernel: 4 to 16 entries per thread. One load takes 8
of 16 bits; with more than 16 the compiler spills registers, or leaves room for few warps."""
GROUPS = 256 << 20
"""Bytes for logits from hidden states, as on a CPU, beside the default."""
BETA = {"forward_kl": 0.0, "reverse_kl": 1.0, "jensen_shannon": 0.5}
"""liger-kernel's name of a divergence."""


@dataclass
class Given:
    """Inputs at one size: logits, or hidden states with heads. All have 16 bits."""

    tokens: int
    vocabulary: int
    widths: tuple[int, int]
    device: str

    def __post_init__(self) -> None:
        import torch

        torch.manual_seed(0)
        self.labels = torch.zeros(self.tokens, dtype=torch.long, device=self.device)
        shape = {"dtype": torch.bfloat16, "device": self.device}
        # As peaked as real text: logits with a standard deviation of 4, the sides alike.
        common = torch.randn(self.tokens, min(self.widths), **shape)
        heads = torch.randn(self.vocabulary, min(self.widths), **shape)
        self.states, self.heads = [], []
        for width, noise in zip(self.widths, (0.25, 0.0), strict=True):
            more = width - min(self.widths)
            states = torch.cat([common, torch.randn(self.tokens, more, **shape)], 1)
            head = torch.cat([heads, 0.2 * torch.randn(self.vocabulary, more, **shape)], 1)
            head = head + noise * torch.randn_like(head)
            self.states.append(4 / math.sqrt(min(self.widths)) * states)
            self.heads.append(head)
        self.trained = [self.states[0].requires_grad_(), self.heads[0].requires_grad_()]

    def logits(self) -> tuple[Any, Any]:
        """Return new logits of both sides; the student's need a gradient."""
        import torch

        with torch.no_grad():
            student, teacher = (s @ h.T for s, h in zip(self.states, self.heads, strict=True))
        return student.requires_grad_(), teacher


Make = Callable[[str, str | None, Any, Any, Given], Any]
"""Returns a loss, given a divergence, an arm and both sides: logits, or states with a head."""


def ours(kernels: str, budget: int | None = None) -> Callable[..., Callable[[], Any]]:
    """Return the loss of this package."""

    def make(name: str, adaptive: str | None, student: Any, teacher: Any, given: Given) -> Any:
        from adakd.losses.lm_head import HiddenStates, LMHead
        from adakd.losses.objective import Objective

        objective = Objective(name, adaptive, total_steps=100, kernels=kernels, budget=budget)
        if isinstance(student, tuple):
            student, teacher = (HiddenStates(s, LMHead(h)) for s, h in (student, teacher))
        return lambda: objective(student, teacher, given.labels).loss

    return make


def whole_logits(loss: Callable[[Any, Any], Any], student: Any, teacher: Any) -> Any:
    """Apply a loss of logits, which hidden states are first projected to."""
    if isinstance(student, tuple):
        student, teacher = (states @ head.T for states, head in (student, teacher))
    return loss(student, teacher)


def reference(name: str, adaptive: str | None, student: Any, teacher: Any, given: Given) -> Any:
    from restated import REFERENCES, adakd, plain

    arm = adakd if adaptive else plain
    loss = lambda ours, theirs: arm(REFERENCES[name], ours, theirs, given.labels)  # noqa: E731
    return lambda: whole_logits(loss, student, teacher)


def lean(compiled: bool) -> Make:
    def make(name: str, adaptive: str | None, student: Any, teacher: Any, given: Given) -> Any:
        import torch
        from restated import LEAN, lean_adakd, lean_plain

        arm = lean_adakd if adaptive else lean_plain
        loss = lambda ours, theirs: arm(LEAN[name], ours, theirs)  # noqa: E731
        apply = lambda ours, theirs: whole_logits(loss, ours, theirs)  # noqa: E731
        if compiled:
            torch._dynamo.reset()  # each function is compiled anew, as the only one
            apply = torch.compile(apply, dynamic=False)
        return lambda: apply(student, teacher)

    return make


def liger(name: str, adaptive: str | None, student: Any, teacher: Any, given: Given) -> Any:
    """liger-kernel's loss of log-probabilities, or its fused product and loss."""
    import torch
    from liger_kernel.transformers import LigerFusedLinearJSD, LigerJSD, LigerKLDIVLoss

    if isinstance(student, tuple):
        fused = LigerFusedLinearJSD(jsd_beta=BETA[name], accum_dtype=torch.float32)
        return lambda: fused(*student, *teacher, None)
    if name == "forward_kl":
        loss = LigerKLDIVLoss(reduction="batchmean", log_target=True)
    else:
        loss = LigerJSD(beta=BETA[name])
    return lambda: loss(
        *(torch.log_softmax(side, -1, dtype=torch.float32) for side in (student, teacher))
    )


def liger_chunked(name: str, adaptive: str | None, student: Any, teacher: Any, given: Given) -> Any:
    """liger-kernel's product and loss in chunks, under torch.compile."""
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    fused = LigerFusedLinearJSDLoss(
        weight_hard_loss=0.0, weight_soft_loss=1.0, beta=BETA[name], chunk_size=1024
    )
    return lambda: fused(*student, *teacher, given.labels)


@dataclass
class Bench:
    results: Results
    given: Given
    ceilings: dict[str, float]
    repeat: float
    """Seconds to repeat a step for."""
    launch: tuple[int, int] = (0, 0)
    """Entries at a time and warps of the kernels at this size."""

    def row(self, source: str, name: str, adaptive: str | None, side: str, make: Make) -> None:
        """Add the row of one side."""
        what = {
            "tokens": self.given.tokens,
            "vocabulary": self.given.vocabulary,
            "from": source,
            "loss": f"{name} + {adaptive}" if adaptive else name,
            "side": side,
        }
        needs = 12.0 if "compile" in side or "chunked" in side else 3.0
        needs = 0.0 if side.startswith("triton") else needs
        self.results.add(lambda: self._measure(source, name, adaptive, side, make), needs, **what)

    def _measure(
        self, source: str, name: str, adaptive: str | None, side: str, make: Make
    ) -> dict[str, Any]:
        import torch

        from adakd.losses import dispatch

        device, given = self.results.device, self.given
        if source == "logits":
            student, teacher = given.logits()
            inputs = [student]
        else:
            student, teacher = zip(given.states, given.heads, strict=True)
            inputs = given.trained
        loss = make(name, adaptive, student, teacher, given)

        def step() -> Any:
            value = loss()
            torch.autograd.grad(value, inputs)
            return value.detach()

        value = float(step())
        peak = device.peak(step)
        found = {"value": value, **spread(device.times(step, self.repeat))}
        if "triton" in side:  # or else PyTorch has computed the row
            found["agreed"] = bool(dispatch._agreed) and all(dispatch._agreed.values())
        seconds = found["milliseconds"] / 1000
        if peak is not None:
            found["peak_mib"] = peak / 2**20
            found["peak_in_logits"] = peak / (2 * given.tokens * given.vocabulary)
        if source == "logits":
            least = 3 * 2 * given.tokens * given.vocabulary  # both read, the gradient written
            found["share_of_bandwidth"] = least / seconds / self.ceilings["copy_bytes_per_second"]
        else:
            ours, theirs = given.widths
            flops = 2 * given.tokens * given.vocabulary * (3 * ours + theirs)
            found["share_of_flops"] = flops / seconds / self.ceilings["bf16_flops_per_second"]
        return found


def sides(source: str, adaptive: str | None) -> Iterator[tuple[float, str, Make]]:
    """Yield the sides of a loss, each with its rank: the lower, the earlier it is measured."""
    yield 0, "triton", ours("triton")
    yield 1, "torch", ours("torch")
    if source != "logits":
        yield 0, "triton, groups of 256 MiB", ours("triton", GROUPS)
        yield 2, "torch, groups of 256 MiB", ours("torch", GROUPS)
    yield 1, "lean", lean(compiled=False)
    yield 2, "reference", reference
    if adaptive is None:
        yield 1, "liger", liger
        if source != "logits":
            yield 3, "liger, chunked", liger_chunked
    yield 2.5, "lean, torch.compile", lean(compiled=True)  # compiles for seconds


# --- which launch is best -----------------------------------------------------------------------


def precompile(launches: list[tuple[int, int]], vocabulary: int, capability: int) -> None:
    """Compile kernels into Triton's cache, in a process without a GPU context of its own."""
    import torch
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    from adakd.divergences import divergence
    from adakd.losses import triton_kernels
    from adakd.losses.blocks import LogitRows

    class Absent:
        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", capability, 32)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int) -> int:
            return 0

    driver.set_active(Absent())
    launch = triton_kernels.reduce.run
    triton_kernels.reduce.run = lambda *given, **named: launch(*given, **named | {"warmup": True})
    rows, out = (LogitRows(torch.zeros(2, vocabulary, dtype=torch.bfloat16)) for _ in "12")
    ones = torch.ones(2)
    form = triton_kernels.bound_form(divergence["reverse_kl"])
    for entries, warps in launches:
        triton_kernels.ENTRIES_AT_A_TIME, triton_kernels.WARPS = entries, warps
        triton_kernels.reduce_rows(triton_kernels.HELLINGER, rows, rows)
        triton_kernels.reduce_rows(form, rows, rows, None, ones, out)


class Precompiling:
    """Processes that fill Triton's cache while other rows are measured."""

    def __init__(self, vocabulary: int, device: Device) -> None:
        self.processes = []
        if not device.cuda:
            return
        import torch

        major, minor = torch.cuda.get_device_capability()
        count = max(1, min(len(LAUNCHES), (os.cpu_count() or 2) - 4))
        context = multiprocessing.get_context("spawn")
        for number in range(count):
            share = LAUNCHES[number::count]
            process = context.Process(
                target=precompile, args=(share, vocabulary, 10 * major + minor), daemon=True
            )
            process.start()
            self.processes.append(process)

    def wait(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        for process in self.processes:
            process.join(max(0.0, end - time.perf_counter()))
            if process.is_alive():
                process.kill()


def best_launch(bench: Bench, tiny: bool) -> tuple[int, int]:
    """Time the kernels alone under each launch; return the best one."""
    import torch

    from adakd.divergences import divergence
    from adakd.losses import triton_kernels
    from adakd.losses.blocks import LogitRows

    tried = [(32, 8), (64, 8)] if tiny else LAUNCHES
    form = triton_kernels.bound_form(divergence["reverse_kl"])
    with torch.no_grad():
        student, teacher = (LogitRows(side.detach()) for side in bench.given.logits())
    out = LogitRows(torch.empty_like(student.logits))
    factor = torch.ones(bench.given.tokens, device=student.logits.device)
    tensor = student.logits.nbytes
    kernels: dict[str, tuple[Step, int]] = {
        "scores": (
            lambda: triton_kernels.reduce_rows(triton_kernels.HELLINGER, student, teacher),
            2 * tensor,
        ),
        "reverse_kl with its gradient": (
            lambda: triton_kernels.reduce_rows(form, student, teacher, None, factor, out),
            3 * tensor,
        ),
    }
    best: dict[tuple[int, int], float] = {}
    before = triton_kernels.ENTRIES_AT_A_TIME, triton_kernels.WARPS
    for entries, warps in tried:
        triton_kernels.ENTRIES_AT_A_TIME, triton_kernels.WARPS = entries, warps
        total = 0.0
        for kernel, (step, least) in kernels.items():

            def measure(step: Step = step, least: int = least) -> dict[str, Any]:
                seconds = bench.results.device.times(step, bench.repeat / 4, most=20)
                rate = least / median(seconds) / bench.ceilings["copy_bytes_per_second"]
                return {**spread(seconds), "share_of_bandwidth": rate}

            row = bench.results.add(
                measure,
                vocabulary=bench.given.vocabulary,
                kernel=kernel,
                entries=entries,
                warps=warps,
            )
            total += row.get("milliseconds", math.inf)
        best[entries, warps] = total
    chosen = min(best, key=best.__getitem__)
    if not math.isfinite(best[chosen]):
        chosen = before
    bench.results.add(
        lambda: {"entries": chosen[0], "warps": chosen[1]},
        vocabulary=bench.given.vocabulary,
        kernel="best launch",
    )
    return chosen


NAMES = ("triton", "torch", "groups", "lean", "torch.compile", "liger", "chunked", "reference")
SOURCES = ("logits", "hidden states")
CHOICES = {
    "--sides": {"nargs": "+", "choices": NAMES, "default": NAMES, "help": "what to measure"},
    "--sources": {"nargs": "+", "choices": ("logits", "hidden"), "default": ("logits", "hidden")},
}
Planned = tuple[int, str, tuple[str, str | None], str, Make]
"""Vocabulary, source, loss, side, and how the side is made."""


def wanted(row: Planned, options: Any) -> bool:
    """Return whether the command line asks for a row; a side's name is that of its last part."""
    _, source, _, side, _ = row
    name = side.split(", ")[-1].split()[0]
    return name in options.sides and source.split()[0] in options.sources


def plan(sizes: Iterable[int]) -> list[Planned]:
    """Return what to measure, the most valuable first: the losses at the larger size from logits.

    Our own kernels come first at all sizes; then the other sides.
    """
    first = next(iter(sizes))
    ranked = []
    for number, (vocabulary, source, loss) in enumerate(product(sizes, SOURCES, LOSSES)):
        for rank, side, make in sides(source, loss[1]):
            if rank > 0:
                rank += 2 * (source != "logits") + (vocabulary != first)
            if "compile" in side and vocabulary == first and source == "logits":
                rank -= 2 * (loss in LOSSES[:2]) + (loss[0] == "jensen_shannon")
            ranked.append((rank, number, vocabulary, source, loss, side, make))
    return [entry[2:] for entry in sorted(ranked, key=lambda entry: entry[:2])]


def main() -> None:
    options = arguments(__doc__, seconds=70, more=CHOICES)
    device = Device(options.device)
    results = Results(options.out, device, options.seconds)
    sizes = TINY if options.tiny else SIZES
    chosen = [row for row in plan(sizes) if wanted(row, options)]
    kernels = any("triton" in side for *_, side, _ in chosen)
    started = Precompiling(max(sizes), device) if kernels else None
    ceilings = device.ceilings(options.tiny)
    results.head["ceilings"] = ceilings
    repeat = 0.02 if options.tiny else 0.3
    benches = {
        vocabulary: Bench(
            results,
            Given(
                sizes[vocabulary]["tokens"],
                vocabulary,
                (sizes[vocabulary]["student"], sizes[vocabulary]["teacher"]),
                options.device,
            ),
            ceilings,
            repeat,
        )
        for vocabulary in sizes
    }
    from adakd.losses import triton_kernels

    if started is not None:
        started.wait(20)
        for vocabulary in sizes:
            benches[vocabulary].launch = best_launch(benches[vocabulary], options.tiny)
    for vocabulary, source, (name, adaptive), side, make in chosen:
        bench = benches[vocabulary]
        if kernels:
            triton_kernels.ENTRIES_AT_A_TIME, triton_kernels.WARPS = bench.launch
        bench.row(source, name, adaptive, side, make)
    ratios(results)
    table([row for row in results.rows if "kernel" in row], "warps", ("milliseconds",))
    losses = [row for row in results.rows if "from" in row]
    table(losses, "side", ("milliseconds", "peak_in_logits"))


def ratios(results: Results) -> None:
    """Add the time of AdaKD's whole loss over that of the plain one, for each of our sides."""
    found = {
        (row["vocabulary"], row["from"], row["loss"], row["side"]): row["milliseconds"]
        for row in results.rows
        if "milliseconds" in row and "from" in row
    }
    results.seconds = math.inf  # they cost nothing
    for (vocabulary, source, loss, side), milliseconds in found.items():
        plain = found.get((vocabulary, source, loss.removesuffix(" + adakd"), side))
        if loss.endswith(" + adakd") and plain is not None:
            ratio = milliseconds / plain
            results.add(
                lambda ratio=ratio: {"adakd_over_plain": ratio},
                vocabulary=vocabulary,
                source=source,
                loss=loss,
                side=side,
            )


if __name__ == "__main__":
    main()
