"""Uncertainty of differences, win rates and rankings, in numpy and scipy.

Arms are compared on the same items and the same training seeds, so differences are *paired*. Random
numbers come from a seeded generator: the same records give the same report.
"""

from adakd.stats.agreement import cohen_kappa, krippendorff_alpha
from adakd.stats.bootstrap import LEVEL, REPLICATES, Array
from adakd.stats.confidence_sequence import always_valid, confidence_sequence
from adakd.stats.differences import (
    Difference,
    gap_closed,
    item_pulls,
    paired_difference,
    pooled_difference,
)
from adakd.stats.early_stop import stopped_rate
from adakd.stats.error_law import ErrorLaw
from adakd.stats.joint_errors import JointErrors
from adakd.stats.multiple_testing import Conclusion, conclusion, sign_flip_floor
from adakd.stats.power import SEEDS, Spread, effective_items, spread_of
from adakd.stats.rank_correlation import OrderAgreement, order_agreement
from adakd.stats.ranking import Game, Ranked, Ranking, bradley_terry
from adakd.stats.ratios import LEAST_PAIRS, Ratio, mean_ratio, median_ratio, wilson
from adakd.stats.seed_noise import SeedNoise, distances, seed_noise
from adakd.stats.step_down import Adjusted, step_down
from adakd.stats.unpaired import Unpaired, unpaired_difference
from adakd.stats.unseen import allow_for_unseen
from adakd.stats.win_rate import POINTS, PairResult, WinRate, prompt_pulls, win_rate

__all__ = [
    "LEAST_PAIRS",
    "LEVEL",
    "POINTS",
    "REPLICATES",
    "SEEDS",
    "Adjusted",
    "Array",
    "Conclusion",
    "Difference",
    "ErrorLaw",
    "Game",
    "JointErrors",
    "OrderAgreement",
    "PairResult",
    "Ranked",
    "Ranking",
    "Ratio",
    "SeedNoise",
    "Spread",
    "Unpaired",
    "WinRate",
    "allow_for_unseen",
    "always_valid",
    "bradley_terry",
    "cohen_kappa",
    "conclusion",
    "confidence_sequence",
    "distances",
    "effective_items",
    "gap_closed",
    "item_pulls",
    "krippendorff_alpha",
    "mean_ratio",
    "median_ratio",
    "order_agreement",
    "paired_difference",
    "pooled_difference",
    "prompt_pulls",
    "seed_noise",
    "sign_flip_floor",
    "spread_of",
    "step_down",
    "stopped_rate",
    "unpaired_difference",
    "wilson",
    "win_rate",
]
