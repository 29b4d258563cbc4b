r"""Win rates of judgings that stopped early, or that were looked at while they went on.

The confidence sequence of the prompts holds however often one looks, but it knows nothing of the
training seeds: with every prompt judged it would close in on the mean of these very trainings.
Their part is added,

.. math:: t_{0.975, S - 1} \cdot \max(s, \hat\sigma / \sqrt n) / \sqrt S,

with the standard deviation s of the win rates of S trainings. Two trainings can come out alike by
chance, and a judging that is looked at often enough would find the moment. So s counts at least as
the noise of a win rate over n prompts: points of one prompt have the standard deviation
:math:`\hat\sigma` between trainings.

One training tells nothing of s. Enough prompts separate any two trainings, and a judging that stops
by the width of its interval asks for enough: a rate of one training has an interval over prompts,
and no p-value.
"""

from collections.abc import Iterable

import numpy as np
from scipy.special import stdtrit

from adakd.stats.bootstrap import LEVEL, Array, Indices, numbered
from adakd.stats.ratios import Ratio
from adakd.stats.win_rate import POINTS, PairResult, WinRate


def stopped_rate(
    results: Iterable[PairResult], rate: WinRate, sequence: Ratio, is_trained: bool = True
) -> tuple[Ratio | None, float | None]:
    """Return the win rate with an interval that allows for looking, and its p-value.

    The interval holds both the one of a judging that was never looked at and the sequence with the
    part of the training seeds. The p-value is 1 where one half is inside, and None with a single
    training seed: the interval is then about these very trainings.

    Args:
        results: all pairs, failed ones included.
        rate: their summary.
        sequence: the last bounds of the confidence sequence over prompts.
        is_trained: whether training seeds decide any of the answers. Those of fixed models, such
            as a teacher or a file, have a p-value.
    """
    if rate.overall is None:
        return None, 1.0
    judged = [pair for pair in results if pair.outcome != "failed"]
    half = _of_seeds(
        np.array([POINTS[pair.outcome] for pair in judged]),
        numbered([pair.prompt for pair in judged]),
        numbered([pair.seed for pair in judged]),
    )
    low = max(0.0, min(rate.overall.low, sequence.low - half))
    high = min(1.0, max(rate.overall.high, sequence.high + half))
    found = Ratio(rate.overall.estimate, low, high, rate.overall.n)
    if is_trained and rate.seeds < 2:
        return found, None
    return found, 1.0 if low <= 0.5 <= high else rate.p_value


def _of_seeds(points: Array, prompts: Indices, seeds: Indices) -> float:
    """Return the half-width due to the training seeds; 0 with one, of which nothing is known."""
    trainings = int(seeds.max()) + 1
    if trainings < 2:
        return 0.0
    of_seeds = np.bincount(seeds, points) / np.bincount(seeds)
    of_prompts = np.bincount(prompts, points) / np.bincount(prompts)
    df = max(len(points) - len(of_prompts), 1)
    variance = float(((points - of_prompts[prompts]) ** 2).sum()) / df
    noise = np.sqrt(variance * trainings / len(points))
    spread = max(float(of_seeds.std(ddof=1)), float(noise))
    return float(stdtrit(trainings - 1, 1 - LEVEL / 2)) * spread / float(np.sqrt(trainings))
