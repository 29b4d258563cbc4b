"""Speed and memory against reference implementations: run, and kept with their machine."""

from adakd.benchmarks.pytest_process import run_benchmarks
from adakd.benchmarks.results import FILE, Bench, Line, read_bench, write_bench

__all__ = ["FILE", "Bench", "Line", "read_bench", "run_benchmarks", "write_bench"]
