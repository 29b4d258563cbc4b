"""Divergences between the student's and the teacher's next-token distributions.

Importing this package does not import torch: suites are checked without it.
"""

from adakd.divergences.adaptive_kl import adaptive_kl
from adakd.divergences.alpha_beta import alpha_beta
from adakd.divergences.base import Divergence, derivative, divergence, entry_form
from adakd.divergences.jensen_shannon import jensen_shannon
from adakd.divergences.kl import forward_kl, reverse_kl
from adakd.divergences.pair import Pair
from adakd.divergences.skew import skew_forward_kl, skew_reverse_kl
from adakd.divergences.todi import todi
from adakd.divergences.total_variation import total_variation

__all__ = [
    "Divergence",
    "Pair",
    "adaptive_kl",
    "alpha_beta",
    "derivative",
    "divergence",
    "entry_form",
    "forward_kl",
    "jensen_shannon",
    "reverse_kl",
    "skew_forward_kl",
    "skew_reverse_kl",
    "todi",
    "total_variation",
]
