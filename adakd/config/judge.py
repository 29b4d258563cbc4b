"""Settings common to all kinds of judges: task, prices and vetting."""

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt

from adakd.config.base import Config
from adakd.config.numbers import Share

Outcome = Literal["win", "loss", "tie", "flip", "failed", "identical"]


Asks = Literal["pair", "rating"]
"""Compare two answers, or rate one."""


class Prices(Config):
    """Prices of a judge, in any one currency."""

    prompt: NonNegativeFloat
    """Per million tokens."""
    completion: NonNegativeFloat
    """Per million tokens."""
    currency: str = "USD"


class Vetting(Config):
    """Size of the test on pairs with a known answer, and the thresholds to pass it."""

    items: NonNegativeInt = 10
    """Pairs of each case, asked in both orders; 0 for no vetting."""
    accuracy: Share = 0.8
    """Smallest share of pairs decided correctly in both orders."""
    flips: Share = 0.25
    """Largest share of verdicts that change with the order."""
    self_ties: Share = 0.5
    """Smallest share of ties between an answer and itself."""
    length_pull: Share = 0.25
    """Largest difference in accuracy between longer and shorter right answers."""
