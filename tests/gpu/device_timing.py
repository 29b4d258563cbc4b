"""How the device benchmarks measure: median times between events, peaks of memory, two ceilings.

Each script writes a JSON file with the machine and one row per measurement, again after every row:
what ends a script early loses no more than the row in work. A failed row holds its error.
"""

import argparse
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median, quantiles
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "bench")]
Step = Callable[[], Any]


def arguments(
    description: str, seconds: float, more: Mapping[str, dict[str, Any]] = MappingProxyType({})
) -> argparse.Namespace:
    """Parse the command line, on a CPU let Triton's interpreter run the kernels; add `more`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("--seconds", type=float, default=seconds, help="time for all rows")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that a CPU computes in seconds")
    for name, settings in more.items():
        parser.add_argument(name, **settings)
    given = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    if given.device == "cpu":
        os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        os.environ["TRITON_INTERPRET"] = "1"
        _interpret()
    return given


def _interpret() -> None:
    """Let the kernels run in CPU memory, with the methods that Triton's interpreter lacks."""
    import triton.language as tl

    from adakd.losses import dispatch, triton_kernels

    dispatch.DEVICES.add("cpu")
    triton_kernels.ENTRIES_AT_A_TIME = 64
    for name in ("abs", "exp", "log", "sqrt"):
        setattr(tl.tensor, name, lambda self, name=name: getattr(tl, name)(self))


@dataclass
class Device:
    """Where the benchmarks run."""

    name: str

    @property
    def cuda(self) -> bool:
        return self.name == "cuda"

    def synchronize(self) -> None:
        import torch

        if self.cuda:
            torch.cuda.synchronize()

    def times(self, step: Step, seconds: float, least: int = 3, most: int = 40) -> list[float]:
        """Return the seconds of repeated steps, after two to warm up."""
        import torch

        for _ in range(2):
            self.synchronize()
            start = time.perf_counter()
            step()
            self.synchronize()
            once = time.perf_counter() - start
        count = int(min(most, max(least, seconds / max(once, 1e-9))))
        if not self.cuda:
            return [self.elapsed(step) for _ in range(min(count, least))]
        marks = []
        for _ in range(count):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in "12")
            begin.record()
            step()
            end.record()
            marks.append((begin, end))
        self.synchronize()
        return [begin.elapsed_time(end) / 1000 for begin, end in marks]

    def elapsed(self, step: Step) -> float:
        """Return the seconds of one step on the host's clock."""
        self.synchronize()
        start = time.perf_counter()
        step()
        self.synchronize()
        return time.perf_counter() - start

    def peak(self, step: Step) -> int | None:
        """Return the most bytes that a step allocates beyond those held before; None on a CPU."""
        import torch

        if not self.cuda:
            step()
            return None
        self.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        self.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def free(self) -> None:
        """Return unused memory to the device, so that one side does not crowd out the next."""
        import gc

        import torch

        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()

    def ceilings(self, tiny: bool) -> dict[str, float]:
        """Measure bytes a second of a copy (read and written) and FLOPs a second of a product."""
        import torch

        entries, side = (1 << 16, 64) if tiny else (1 << 30, 8192)
        source = torch.randn(entries, device=self.name).to(torch.bfloat16)
        target = torch.empty_like(source)
        copy = median(self.times(lambda: target.copy_(source), 0.1))
        left, right = (torch.randn(side, side, device=self.name).to(torch.bfloat16) for _ in "12")
        product = median(self.times(lambda: left @ right, 0.2))
        return {
            "copy_bytes_per_second": 2 * source.nbytes / copy,
            "bf16_flops_per_second": 2 * side**3 / product,
        }


def spread(seconds: list[float]) -> dict[str, float]:
    """Return the median in milliseconds with quartiles and the number of repetitions."""
    low, _, high = quantiles(seconds, n=4) if len(seconds) > 1 else 3 * seconds
    return {
        "milliseconds": 1000 * median(seconds),
        "quartile_low": 1000 * low,
        "quartile_high": 1000 * high,
        "repetitions": len(seconds),
    }


@dataclass
class Results:
    """Rows of one script, written to a file after each."""

    file: Path
    device: Device
    seconds: float
    started: float = field(default_factory=time.perf_counter)
    head: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.head = machine(self.device)

    @property
    def left(self) -> float:
        """Seconds that remain of the time for all rows."""
        return self.seconds - (time.perf_counter() - self.started)

    def add(
        self, measure: Callable[[], dict[str, Any]], needs: float = 0.0, **what: Any
    ) -> dict[str, Any]:
        """Add a row of what is measured and its values, its error, or that time was over.

        Args:
            measure: returns the values.
            needs: seconds that have to be left, for what may take long.
            what: describes the row.
        """
        row = dict(what)
        if self.left <= needs:
            row["error"] = "not measured: the time was over"
        else:
            begin = time.perf_counter()
            try:
                row |= measure()
            except Exception as error:  # a row that fails is a result
                row["error"] = f"{type(error).__name__}: {error}"[:500]
                traceback.print_exc()
            row["seconds_spent"] = time.perf_counter() - begin
            self.device.free()
        self.rows.append(row)
        self.write()
        print(line(row), flush=True)
        return row

    def write(self) -> None:
        """Replace the file."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.file.with_suffix(".part")
        unfinished.write_text(json.dumps({**self.head, "rows": self.rows}, indent=1) + "\n")
        unfinished.replace(self.file)


def line(row: dict[str, Any]) -> str:
    """Return a row as one short line."""
    parts = []
    for name, value in row.items():
        if name in ("quartile_low", "quartile_high", "seconds_spent") or value is None:
            continue
        if name == "error":
            value = str(value).splitlines()[0][:120]
        parts.append(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}")
    return "  ".join(parts)


def table(rows: list[dict[str, Any]], columns: str, cells: tuple[str, ...]) -> None:
    """Print rows of the same description side by side, by one of its fields, so that all fit."""
    for cell, digits in zip(cells, (2, 1), strict=False):
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            if cell in row:
                skip = (columns, "error")
                name = " ".join(
                    str(value)
                    for key, value in row.items()
                    if isinstance(value, str | int | None) and key not in skip
                    if key not in ("repetitions", "agreed")
                )
                found.setdefault(name, {})[str(row.get(columns))] = f"{row[cell]:.{digits}f}"
        print(f"-- {cell} by {columns}")
        for name, values in found.items():
            print(f"{name}: " + "; ".join(f"{side} {value}" for side, value in values.items()))
    failed = [row for row in rows if "error" in row and "time was over" not in row["error"]]
    for row in failed:
        print("failed:", line(row)[-200:])
    print(f"{len(rows)} rows, {sum('error' in row for row in rows)} without a value", flush=True)


def machine(device: Device) -> dict[str, Any]:
    """Return the card, the driver and the versions."""
    import subprocess

    import torch

    from adakd.store import provenance

    found: dict[str, Any] = {
        "schema_version": 1,
        "datetime": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "card": "CPU",
        "driver": None,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "commit": provenance.commit(),
    }
    for package in ("adakd", "triton", "transformers", "liger-kernel"):
        try:
            found["versions"][package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found["versions"][package] = None
    if device.cuda:
        found["card"] = torch.cuda.get_device_name()
        found["memory_gib"] = torch.cuda.get_device_properties(0).total_memory / 2**30
        found["versions"]["cuda"] = torch.version.cuda
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, check=False)
        found["driver"] = done.stdout.strip() or None
    return found
