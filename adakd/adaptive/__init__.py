"""Token-adaptive methods: select, weight and temper the tokens of a batch.

They wrap any divergence and depend on none. Importing this package does not import torch.
"""

from adakd.adaptive import indicators
from adakd.adaptive.adakd import AdaKD
from adakd.adaptive.base import (
    Adaptive,
    Focus,
    Indicator,
    Match,
    Scheduled,
    Scope,
    Stateful,
    Temperature,
    TokenSelection,
    Transform,
    adaptive,
    focus,
    indicator,
    temperature,
)
from adakd.adaptive.egad import EGAD
from adakd.adaptive.focuses import LATF, Cosine, FixedRatio, Linear
from adakd.adaptive.temperatures import CTKD, IDTS, FixedTemperature, Standardised

__all__ = [
    "CTKD",
    "EGAD",
    "IDTS",
    "LATF",
    "AdaKD",
    "Adaptive",
    "Cosine",
    "FixedRatio",
    "FixedTemperature",
    "Focus",
    "Indicator",
    "Linear",
    "Match",
    "Scheduled",
    "Scope",
    "Standardised",
    "Stateful",
    "Temperature",
    "TokenSelection",
    "Transform",
    "adaptive",
    "focus",
    "indicator",
    "indicators",
    "temperature",
]
