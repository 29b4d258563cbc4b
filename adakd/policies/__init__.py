"""Data policies: the source of the responses a student learns from, for any divergence.

Importing this package does not import torch: suites are checked without it.
"""

from adakd.policies.base import Decoding, Examples, Policy, PolicyContext, policy
from adakd.policies.offline import Offline
from adakd.policies.on_policy import OnPolicy
from adakd.policies.replay import Replay
from adakd.policies.sequence_level import SequenceLevel

__all__ = [
    "Decoding",
    "Examples",
    "Offline",
    "OnPolicy",
    "Policy",
    "PolicyContext",
    "Replay",
    "SequenceLevel",
    "policy",
]
