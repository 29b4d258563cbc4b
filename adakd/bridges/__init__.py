"""Bridges between the student's and the teacher's tokenizers.

Importing this package does not import torch: suites are checked without it.
"""

from adakd.bridges.base import Bridge, Side, bridge, common_entries, common_units
from adakd.bridges.overlap import Overlap

__all__ = ["Bridge", "Overlap", "Side", "bridge", "common_entries", "common_units"]
