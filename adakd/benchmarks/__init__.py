"""How fast adakd is, against the official way: the benchmarks, run and kept with their machine."""

from adakd.benching.running import bench
from adakd.benching.table import FILE, Bench, Line, read_bench, write_bench

__all__ = ["FILE", "Bench", "Line", "bench", "read_bench", "write_bench"]
