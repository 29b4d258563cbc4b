"""Bridges between the student's and the teacher's tokenizers.

Importing this package does not import torch: suites are checked without it.
"""

from adakd.bridges.alm import ALM
from adakd.bridges.base import (
    Bridge,
    Side,
    bridge,
    common_entries,
    common_units,
    complement,
    unit_sums,
)
from adakd.bridges.common_tokens import Overlap
from adakd.bridges.gold import GOLD
from adakd.bridges.simct import SimCT
from adakd.bridges.uld import ULD
from adakd.bridges.x_token import XToken

__all__ = [
    "ALM",
    "GOLD",
    "ULD",
    "Bridge",
    "Overlap",
    "Side",
    "SimCT",
    "XToken",
    "bridge",
    "common_entries",
    "common_units",
    "complement",
    "unit_sums",
]
