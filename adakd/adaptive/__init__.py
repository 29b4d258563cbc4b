"""Token-adaptive methods: which tokens of a batch are trained on, and at which temperature.

They wrap any divergence and know none by name. Importing this package imports no torch.
"""

from adakd.adaptive import indicators
from adakd.adaptive.adakd import AdaKD
from adakd.adaptive.base import (
    Adaptive,
    Changing,
    Focus,
    Indicator,
    Match,
    Scheduled,
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
    "Changing",
    "Cosine",
    "FixedRatio",
    "FixedTemperature",
    "Focus",
    "Indicator",
    "Linear",
    "Match",
    "Scheduled",
    "Standardised",
    "Temperature",
    "TokenSelection",
    "Transform",
    "adaptive",
    "focus",
    "indicator",
    "indicators",
    "temperature",
]
