r"""Differences whose items all came out alike: nothing varied, which is no proof that nothing does.

With none of n items unlike the others, a share u of the population may still be: the upper end of
Wilson's interval for none among n, 11 % of 30 items, 2 % of 200. In a metric whose differences
reach from -M to M, the mean then lies within

.. math:: (1 - u)\, \hat d \pm u M.
"""

from dataclasses import replace

import numpy as np

from adakd.stats.differences import Difference
from adakd.stats.ratios import wilson


def allow_for_unseen(difference: Difference, most: float) -> Difference:
    """Return the difference with an interval where all its items came out alike; else as it is.

    Args:
        difference: of two arms.
        most: the largest difference that the metric allows; infinite leaves no interval (NaN).
    """
    if not difference.law.is_degenerate or difference.n_items < 2:
        return difference
    share = wilson(0, difference.n_items).high
    centre, half = (1 - share) * difference.estimate, share * most
    low, high = (centre - half, centre + half) if np.isfinite(half) else (np.nan, np.nan)
    is_open = not (low > 0 or high < 0)
    p = 1.0 if is_open else difference.p_value
    return replace(difference, low=low, high=high, p_value=p)
