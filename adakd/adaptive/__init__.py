"""Token-adaptive methods: which tokens of a batch are trained on, and at which temperature.

They wrap any divergence and know none by name. Importing this package imports no torch.
"""

from adakd.adaptive import indicators
from adakd.adaptive.focuses import LATF, Cosine, FixedRatio, Linear
from adakd.adaptive.method import AdaKD
from adakd.adaptive.parts import (
    Adaptive,
    Choice,
    Focus,
    Indicator,
    Temperature,
    adaptive,
    focus,
    indicator,
    temperature,
)
from adakd.adaptive.temperatures import IDTS, FixedTemperature

__all__ = [
    "IDTS",
    "LATF",
    "AdaKD",
    "Adaptive",
    "Choice",
    "Cosine",
    "FixedRatio",
    "FixedTemperature",
    "Focus",
    "Indicator",
    "Linear",
    "Temperature",
    "adaptive",
    "focus",
    "indicator",
    "indicators",
    "temperature",
]
