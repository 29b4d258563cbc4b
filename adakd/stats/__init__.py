"""What a difference, a win rate or a ranking is worth, in numpy and scipy.

Arms are compared on the same items and the same training seeds, so every function works on
*paired* values. Random numbers come from a seeded generator: the same records give the same
report.
"""

from adakd.statistics.agreement import cohen_kappa, krippendorff_alpha
from adakd.statistics.differences import (
    POWER_FACTOR,
    Difference,
    gap_closed,
    paired_difference,
    pooled_difference,
)
from adakd.statistics.families import Word, holm, sign_flip_floor, word
from adakd.statistics.orders import OrderAgreement, order_agreement
from adakd.statistics.ranking import Game, Ranked, Ranking, bradley_terry
from adakd.statistics.rates import POINTS, PairResult, WinRate, win_rate
from adakd.statistics.ratios import Ratio, ratio_of_medians, wilson
from adakd.statistics.resampling import LEVEL, REPLICATES, Array
from adakd.statistics.sequence import always_valid, confidence_sequence

__all__ = [
    "LEVEL",
    "POINTS",
    "POWER_FACTOR",
    "REPLICATES",
    "Array",
    "Difference",
    "Game",
    "OrderAgreement",
    "PairResult",
    "Ranked",
    "Ranking",
    "Ratio",
    "WinRate",
    "Word",
    "always_valid",
    "bradley_terry",
    "cohen_kappa",
    "confidence_sequence",
    "gap_closed",
    "holm",
    "krippendorff_alpha",
    "order_agreement",
    "paired_difference",
    "pooled_difference",
    "ratio_of_medians",
    "sign_flip_floor",
    "wilson",
    "win_rate",
    "word",
]
