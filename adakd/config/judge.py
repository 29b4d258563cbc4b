"""Settings of judges that every kind of judge has: what it asks, its price, its vetting."""

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt

from adakd.config.base import Config
from adakd.config.numbers import Share

Outcome = Literal["win", "loss", "tie", "flip", "failed", "identical"]


Asks = Literal["pair", "rating"]
"""Which of two answers is better, or how good is one of them."""


class Prices(Config):
    """What a judge charges, in any one currency."""

    prompt: NonNegativeFloat
    """For a million tokens."""
    completion: NonNegativeFloat
    """For a million tokens."""
    currency: str = "USD"


class Vetting(Config):
    """How a judge is tried on pairs whose answer is known, and the bar that it must pass."""

    items: NonNegativeInt = 10
    """Pairs of each kind, both orders asked; 0 asks none."""
    accuracy: Share = 0.8
    """The least share of pairs decided rightly in both orders."""
    flips: Share = 0.25
    """The largest share of verdicts that change with the order."""
    self_ties: Share = 0.5
    """The least share of ties between an answer and itself."""
    length_pull: Share = 0.25
    """How far the accuracy may differ between longer and shorter right answers."""
