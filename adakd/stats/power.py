r"""What a design can find, from how much paired differences vary: before a run, or the next one.

The difference on item i in the training with seed s is :math:`\Delta + a_i + b_s + e_{is}`. From
the standard deviations of a, b and e follows the law of the mean over n items and S seeds (see
:mod:`adakd.stats.error_law`), and from that the difference that four of five such runs would find.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import chdtri

from adakd.stats.bootstrap import LEVEL
from adakd.stats.error_law import ErrorLaw

SEEDS = (1, 2, 3, 5, 10)
"""Numbers of training seeds that a design is shown for."""


@dataclass(frozen=True)
class Spread:
    """Standard deviations of paired differences, in the unit of the metric."""

    items: float
    """Between items, the same in all trainings."""
    seeds: float | None
    """Between trainings, the same on all items; None where a single seed tells nothing of it."""
    noise: float = 0.0
    """Of an item in one training, apart from both."""

    def law(self, items: float, seeds: int) -> ErrorLaw:
        """Return the law that a run over `items` and `seeds` is expected to have.

        The standard error of the seeds is the one that is as likely too small as too large, which
        is how :meth:`ErrorLaw.detectable` takes it.
        """
        of_seeds = (self.seeds or 0.0) ** 2 / seeds + self.noise**2 / (items * seeds)
        df = seeds - 1
        return ErrorLaw(
            items=sqrt((self.items**2 + self.noise**2 / seeds) / items),
            items_df=max(items - 1, 1),
            seeds=sqrt(of_seeds * float(chdtri(df, 0.5)) / df) if df else 0.0,
            seeds_df=df,
            shared=self.noise**2 / (items * seeds) if df else 0.0,
        )

    def detectable(self, items: float, seeds: int, comparisons: int = 1) -> float:
        """Return the smallest true difference that four of five such runs would find.

        With one seed that is about these very trainings.

        Args:
            items: of the evaluation; see :func:`effective_items` for several sets.
            seeds: training seeds.
            comparisons: of the family, taken as independent: for others the figure is smaller.
        """
        return self.law(items, seeds).detectable(1 - (1 - LEVEL) ** (1 / comparisons))


def effective_items(counts: Sequence[int]) -> float:
    r"""Return how many items of one set say as much as a mean over K: :math:`K^2 / \sum 1/n_k`."""
    return len(counts) ** 2 / sum(1 / count for count in counts)


def spread_of(differences: Sequence[tuple[ErrorLaw, float, int]]) -> Spread:
    """Return the spread behind some differences: the root mean squares of theirs.

    Args:
        differences: the law of each, its effective items and its training seeds. Those of one seed
            tell nothing of the seeds, and count all noise as of the items.

    Raises:
        ValueError: there are none.
    """
    if not differences:
        raise ValueError("a spread needs differences")
    parts = []
    for law, items, seeds in differences:
        noise = law.shared * items * seeds
        of_items = max(law.items**2 * items - noise / seeds, 0.0)
        of_seeds = max(law.seeds**2 * seeds - noise / items, 0.0) if seeds > 1 else np.nan
        parts.append((of_items, of_seeds, noise))
    of_items, of_seeds, noise = np.array(parts).T
    known = of_seeds[np.isfinite(of_seeds)]
    return Spread(
        items=sqrt(float(of_items.mean())),
        seeds=sqrt(float(known.mean())) if len(known) else None,
        noise=sqrt(float(noise.mean())),
    )
