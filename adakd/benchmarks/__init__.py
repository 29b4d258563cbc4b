"""How fast adakd is, against the official way: the benchmarks, run and kept with their machine."""

from adakd.benchmarks.pytest_process import bench
from adakd.benchmarks.results import FILE, Bench, Line, read_bench, write_bench

__all__ = ["FILE", "Bench", "Line", "bench", "read_bench", "write_bench"]
